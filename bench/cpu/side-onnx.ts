/** onnxruntime-node's side. The settings are the first argument, in JSON. */
import { OnnxWork } from '../onnx-work.ts';
import { peakBytes } from '../peak.ts';
import { answerWork } from './side.ts';

export interface OnnxSettings {
  readonly folder: string;
  readonly path: string;
  readonly threads: number;
}

answerWork(async () => {
  const { folder, path, threads } = JSON.parse(process.argv[2]) as OnnxSettings;
  const onnx = await OnnxWork.open(folder, path, threads);
  return async (work) => ({ seconds: await onnx.seconds(work), peakBytes: peakBytes() });
});
