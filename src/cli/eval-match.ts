/** Exact match: how many of a list of questions a model answers with the very answer that is expected. */
import { IngotError } from '../base/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { isJsonObject, type JsonValue } from '../formats/json.ts';

export interface Question {
  readonly prompt: string;
  readonly answer: string;
}

/** @throws IngotError 'InvalidFile' with the line that is none. */
export function readQuestions(text: string, path: string): readonly Question[] {
  const questions = text.split('\n').flatMap((line, i): Question[] => {
    if (line.trim() === '') return [];
    const wrong = (what: string, cause?: unknown) => new IngotError('InvalidFile', what, { path, line: i + 1, cause });
    let value: JsonValue;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw wrong('the line is no JSON', cause);
    }
    if (!isJsonObject(value) || typeof value.prompt !== 'string' || typeof value.answer !== 'string') {
      throw wrong('the line is no object with the texts "prompt" and "answer"');
    }
    return [{ prompt: value.prompt, answer: value.answer }];
  });
  if (questions.length === 0) throw new IngotError('InvalidFile', 'there are no questions', { path });
  return questions;
}

export interface ExactMatch {
  readonly matches: number;
  readonly questions: number;
  readonly exactMatch: number;
  readonly answers: readonly { readonly answer: string; readonly expected: string; readonly match: boolean }[];
}

/** Greedy answers, of as many tokens as the expected one has and some more; white space around them does not count. */
export async function measureExactMatch(
  engine: Engine,
  questions: readonly Question[],
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<ExactMatch> {
  const answers: { answer: string; expected: string; match: boolean }[] = [];
  for (const { prompt, answer: expected } of questions) {
    const maxTokens = (await engine.encode(`${expected}\n`)).length + 8;
    const answer = await answerOf(engine, prompt, expected, maxTokens, signal);
    answers.push({ answer, expected: expected.trim(), match: answer === expected.trim() });
    onProgress(answers.length, questions.length);
  }
  const matches = answers.filter(({ match }) => match).length;
  return { matches, questions: questions.length, exactMatch: matches / questions.length, answers };
}

/** Up to the end of the line, unless the expected answer has several. */
async function answerOf(engine: Engine, prompt: string, expected: string, maxTokens: number, signal: AbortSignal) {
  let text = '';
  const oneLine = !expected.trim().includes('\n');
  for await (const event of engine.generate({ prompt, maxTokens, signal })) {
    text += event.text;
    if (event.kind === 'end' && event.reason === 'aborted') throw new IngotError('Aborted', 'the work was cancelled');
    if (oneLine && text.trimStart().includes('\n')) break;
  }
  const answer = text.trim();
  return oneLine ? answer.split('\n')[0].trim() : answer;
}
