/** Text from a pipe or a file at standard input. */
import { buffer } from 'node:stream/consumers';

/** All of it: a token may end anywhere, so no part of a text can be encoded by itself. What is not UTF-8 is said on standard error. */
export async function readStandardInput(): Promise<string> {
  const bytes = await buffer(process.stdin);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    console.error('The input is not all UTF-8: what is not became U+FFFD.');
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  }
}
