/** A program in StableHLO's text, as JAX and PyTorch export it, compiled for this machine and run: `node program.js`. */
import { compile, openDevice, parseModule, programOf } from 'ingot';

const text = `
func.func @main(%x: tensor<2x3xf32> loc("x"), %y: tensor<3xf32> loc("y")) -> tensor<2xf32> {
  %row = stablehlo.broadcast_in_dim %y, dims = [1] : (tensor<3xf32>) -> tensor<2x3xf32>
  %product = stablehlo.multiply %x, %row : tensor<2x3xf32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %sum = stablehlo.reduce(%product init: %zero) applies stablehlo.add across dimensions = [1] : (tensor<2x3xf32>, tensor<f32>) -> tensor<2xf32>
  return %sum : tensor<2xf32>
}`;

await using device = await openDevice();
using executable = await device.compile(programOf(parseModule(text)), compile);
using bound = await device.bind(executable, new Map(), new Map());
const inputs = new Map([
  ['x', Float32Array.of(1, 2, 3, 4, 5, 6)],
  ['y', Float32Array.of(1, 10, 100)],
]);
const results = await device.wait(device.submit(bound, inputs, {}), Number.POSITIVE_INFINITY);
for (const [name, { buffer, byteOffset }] of results) console.log(name, new Float32Array(buffer, byteOffset, 2));
