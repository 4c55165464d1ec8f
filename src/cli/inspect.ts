/** `ingot inspect FILE`: what a model file says, its tensors, and the memory that a run will need. */
import type { Command } from 'commander';
import { isIngotError } from '../base/errors.ts';
import { StringList } from '../base/string-list.ts';
import { openDeviceFor } from '../engine/load-node.ts';
import type { Checkpoint, MetadataValue } from '../formats/checkpoint.ts';
import { openCheckpoint } from '../formats/open-node.ts';
import { parseMesh } from '../ir/mesh.ts';
import { openModel } from '../models/architectures.ts';
import type { Model } from '../models/model.ts';
import type { KvFormat } from '../numerics/kv-format.ts';
import { formatPrediction, type MemoryPrediction, predictMemory } from './memory.ts';
import { formatMeshReport, reportMesh } from './mesh-report.ts';
import { kvOption, wholeNumber } from './options.ts';
import { formatBytes, formatCount, formatTable } from './report.ts';

interface InspectOptions {
  readonly context?: number;
  readonly kv: KvFormat;
  readonly mesh?: string;
  readonly json?: boolean;
}

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .summary('show what a model file holds')
    .description('Shows metadata and tensors of a model file or folder and the memory that running it will need.')
    .argument('<model>', 'a GGUF or safetensors file, a Hugging Face folder, or a llama2.c checkpoint')
    .option(
      '--context <tokens>',
      'context for the memory estimate (default: what the model was made for)',
      wholeNumber(1),
    )
    .addOption(kvOption())
    .option('--mesh <axes>', 'instead of all that, what each rank of a mesh would hold, send and take: tensor=8,data=2')
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: InspectOptions) => {
      await using checkpoint = await openCheckpoint(path);
      if (options.mesh !== undefined) {
        await printMesh(openModel(checkpoint), options.mesh, options);
        return;
      }
      const model = tryOpen(checkpoint);
      const memory = typeof model === 'string' ? undefined : await tryPredict(checkpoint, model, options);
      if (options.json) printJson(checkpoint, model, memory);
      else printText(checkpoint, model, memory);
    });
}

/** Files of other architectures can be looked at too; what keeps them from running is shown. */
function tryOpen(checkpoint: Checkpoint): Model | string {
  try {
    return openModel(checkpoint);
  } catch (error) {
    if (isIngotError(error)) return error.message;
    throw error;
  }
}

async function printMesh(model: Model, mesh: string, { context, json, kv }: InspectOptions): Promise<void> {
  await using device = await openDeviceFor(model);
  const contextLength = Math.min(context ?? model.contextLength, model.contextLength);
  const report = await reportMesh(model, parseMesh(mesh), { contextLength, kv }, device.hardware);
  console.log(json ? JSON.stringify(report, undefined, 2) : formatMeshReport(report));
}

/** A device need not have what the model needs: then the file is shown, and why. */
async function tryPredict(
  checkpoint: Checkpoint,
  model: Model,
  { kv, context }: InspectOptions,
): Promise<MemoryPrediction | string> {
  try {
    return await predictMemory(checkpoint, model, kv, context);
  } catch (error) {
    if (isIngotError(error)) return error.message;
    throw error;
  }
}

function tensorRows(checkpoint: Checkpoint) {
  return [...checkpoint.tensors.values()].map(({ name, format, shape, bytes }) => {
    return { name, format, shape, bytes: bytes.length };
  });
}

function printJson(checkpoint: Checkpoint, model: Model | string, memory: MemoryPrediction | string | undefined): void {
  const { kind, path, metadata } = checkpoint;
  const reason = [model, memory].find((found) => typeof found === 'string');
  const runs =
    typeof model === 'string'
      ? { runs: false, reason }
      : {
          runs: reason === undefined,
          ...(reason !== undefined && { reason }),
          architecture: model.architecture,
          parameters: model.parameterCount,
          vocabularySize: model.vocabularySize,
          contextLength: model.contextLength,
          layers: model.layers,
        };
  const plain = Object.fromEntries([...metadata].map(([key, value]) => [key, jsonValue(value)]));
  console.log(
    JSON.stringify(
      {
        path,
        kind,
        ...runs,
        memory: reason === undefined ? memory : undefined,
        metadata: plain,
        tensors: tensorRows(checkpoint),
      },
      undefined,
      2,
    ),
  );
}

/** JSON has neither typed arrays nor big integers. */
function jsonValue(value: MetadataValue): unknown {
  if (typeof value === 'bigint') return String(value);
  if (ArrayBuffer.isView(value) || value instanceof StringList) return Array.from<unknown>(value);
  if (Array.isArray(value)) return value.map(jsonValue);
  return value;
}

function printText(checkpoint: Checkpoint, model: Model | string, memory: MemoryPrediction | string | undefined): void {
  const tensors = tensorRows(checkpoint);
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  console.log(`${checkpoint.path}: ${checkpoint.kind}, ${tensors.length} tensors, ${formatBytes(bytes)}`);
  if (typeof model === 'string') {
    console.log(`Cannot run: ${model}`);
  } else {
    console.log(
      `${model.architecture}: ${formatCount(model.parameterCount)} parameters, ${model.layers} layers, ` +
        `${model.vocabularySize} tokens, context ${model.contextLength}`,
    );
  }
  if (memory !== undefined)
    console.log(typeof memory === 'string' ? `Cannot run: ${memory}` : formatPrediction(memory));
  console.log('');
  for (const [key, value] of checkpoint.metadata) console.log(`${key} = ${shortValue(value)}`);
  console.log('');
  console.log(
    formatTable([
      ['tensor', 'format', 'shape', 'size'],
      ...tensors.map((tensor) => [
        tensor.name,
        tensor.format,
        `[${tensor.shape.join(', ')}]`,
        formatBytes(tensor.bytes),
      ]),
    ]),
  );
}

function shortValue(value: MetadataValue): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value);
  if (typeof value !== 'object' || value === null) return String(value);
  if (ArrayBuffer.isView(value) || Array.isArray(value) || value instanceof StringList) {
    const elements = value as { readonly length: number; at(index: number): MetadataValue | undefined };
    const first = Array.from({ length: Math.min(4, elements.length) }, (_, i) => shortValue(elements.at(i) ?? null));
    return `[${first.join(', ')}${value.length > 4 ? `, ... ${value.length} in all` : ''}]`;
  }
  return JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? String(item) : item));
}
