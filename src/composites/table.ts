/** Every composite, one row each, by the name that programs know it by. */
import { drawComposite } from './draw.ts';
import { gatedActivationComposite } from './gated_activation.ts';
import { joinedDotComposite } from './joined_dot.ts';
import { layerNormComposite } from './layer_norm.ts';
import { pagedAttentionComposite } from './paged_attention.ts';
import { quantizedDotComposite } from './quantized_dot.ts';
import { quantizedTakeComposite } from './quantized_take.ts';
import { rmsNormComposite } from './rms_norm.ts';
import { ropeComposite } from './rope.ts';
import { routeComposite } from './route.ts';
import { routedDotComposite } from './routed_dot.ts';
import { sampleComposite } from './sample.ts';
import { sampledDotComposite } from './sampled_dot.ts';

export const composites = {
  draw: drawComposite,
  gated_activation: gatedActivationComposite,
  joined_dot: joinedDotComposite,
  layer_norm: layerNormComposite,
  paged_attention: pagedAttentionComposite,
  quantized_dot: quantizedDotComposite,
  quantized_take: quantizedTakeComposite,
  rms_norm: rmsNormComposite,
  rope: ropeComposite,
  route: routeComposite,
  routed_dot: routedDotComposite,
  sample: sampleComposite,
  sampled_dot: sampledDotComposite,
};
