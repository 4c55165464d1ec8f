/** The bundled model with another chat template. */
import { bundledModel } from '../../src/cli/bundled-model.ts';
import { createFile } from '../../src/formats/atomic-write-node.ts';
import { isGguf } from '../../src/formats/gguf.ts';
import { layoutGguf } from '../../src/formats/gguf-write.ts';
import { openCheckpoint } from '../../src/formats/open-node.ts';
import { copyTensor } from '../../src/formats/tensor-stream.ts';

export async function writeTemplateModel(path: string, template: string): Promise<void> {
  await using checkpoint = await openCheckpoint(bundledModel);
  const layout = layoutGguf({
    metadata: new Map(checkpoint.metadata).set('tokenizer.chat_template', template),
    ...(isGguf(checkpoint) && { types: checkpoint.metadataTypes }),
    tensors: [...checkpoint.tensors.values()].map(copyTensor),
  });
  await using file = await createFile(path, { length: layout.length });
  await layout.writeTo(file);
  await file.commit();
}
