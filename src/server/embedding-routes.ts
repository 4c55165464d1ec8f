/** `/v1/embeddings`: the vectors of texts. */
import type { Engine, Prompt } from '../engine/engine.ts';
import { readBody } from './body.ts';
import type { Api, Services } from './context.ts';
import { ApiError, withPrompt } from './failure.ts';
import { type EmbeddingsRequest, embeddingsRequest } from './requests.ts';

export function addEmbeddingRoutes(app: Api, { models, rates }: Services): void {
  app.post('/v1/embeddings', async (c) => {
    const request = await readBody(c, embeddingsRequest);
    models.check(request.model);
    const charge = rates.take(c.get('key'), JSON.stringify(request.input).length / 4);
    for (const [name, value] of Object.entries(charge.headers)) c.header(name, value);
    let tokens = 0;
    try {
      return await models.use(request.model, c.req.raw.signal, async ({ model, engine, signal }) => {
        const texts = await Promise.all(textsOf(request).map((text) => engine.encode(text)));
        tokens = texts.reduce((sum, { length }) => sum + length, 0);
        // Those that are asked for at the same time share steps.
        const vectors = await Promise.all(texts.map((ids) => engine.embed(ids, signal)));
        const data = vectors.map((vector, index) => {
          return { object: 'embedding', index, embedding: encoded(cut(vector, request, engine), request) };
        });
        c.set('facts', { model, promptTokens: tokens });
        return c.json({ object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } });
      });
    } catch (error) {
      throw withPrompt(error, 'input');
    } finally {
      charge.settle(tokens);
    }
  });
}

function textsOf({ input }: EmbeddingsRequest): readonly Prompt[] {
  if (typeof input === 'string') return [input];
  return typeof input[0] === 'number' ? [input as number[]] : (input as string[] | number[][]);
}

/** The first of its numbers, and of length 1 again. @throws ApiError 400 for models whose vectors mean nothing in part. */
function cut(vector: Float32Array, { dimensions }: EmbeddingsRequest, { model }: Engine): Float32Array {
  if (dimensions === undefined || dimensions === null || dimensions === vector.length) return vector;
  const refuse = (why: string) => new ApiError(400, why, { param: 'dimensions' });
  if (dimensions > vector.length) throw refuse(`the model's vectors have ${vector.length} dimensions`);
  if (!model.matryoshka) throw refuse(`the model's vectors have ${vector.length} dimensions, and cannot be cut`);
  const part = vector.slice(0, dimensions);
  const length = Math.hypot(...part) || 1;
  return part.map((value) => value / length);
}

/** Base64 of little-endian floats, as OpenAI's clients ask for it. */
function encoded(vector: Float32Array, { encoding_format: format }: EmbeddingsRequest): readonly number[] | string {
  if (format !== 'base64') return Array.from(vector);
  const bytes = Buffer.alloc(4 * vector.length);
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, 4 * i);
  return bytes.toString('base64');
}
