/**
 * A sampler of one's own: `node sampling.js [MODEL]` takes, at every step, the second likeliest token if it is nearly as likely as the first.
 * What an engine brings (temperature, top-k, penalties, biases) runs on the device and is faster; this asks for the logits and does as it likes.
 */
import { Engine } from 'ingot';

await using engine = await Engine.load(process.argv[2], { contextLength: { atMost: 512 } });
const ids = [...(await engine.encode('Once upon a time'))];
for (let i = 0; i < 16; i++) {
  // Logits are those of the tokens of a text, each given all before it: what the last one is does not matter.
  const logits = await engine.logits([...ids, 0], { first: ids.length });
  ids.push(choose(logits));
}
console.log(await engine.decode(ids));

function choose(logits: Float32Array): number {
  let [first, second] = [0, 1];
  for (let id = 1; id < logits.length; id++) {
    if (at(logits, id) > at(logits, first)) [first, second] = [id, first];
    else if (at(logits, id) > at(logits, second)) second = id;
  }
  return at(logits, first) - at(logits, second) < 0.5 ? second : first;
}

function at(logits: Float32Array, id: number): number {
  return logits[id] ?? Number.NEGATIVE_INFINITY;
}
