/**
 * AMX: tiles, int8, bfloat16 and half products. The notation is that of forms.ts; the figures are those of the
 * Intel SDM, volume 2.
 */
export const AMX = [
  'ldtilecfg | M | mem | VEX.128.0F38.W0 49 /0',
  'sttilecfg | M | mem | VEX.128.66.0F38.W0 49 /0',
  'tilerelease |  |  | VEX.128.0F38.W0 49 C0',
  'tilezero | R | t | VEX.128.F2.0F38.W0 49 /r',
  'tileloadd | RM | t sib | VEX.128.F2.0F38.W0 4B /r',
  'tileloaddt1 | RM | t sib | VEX.128.66.0F38.W0 4B /r',
  'tilestored | MR | sib t | VEX.128.F3.0F38.W0 4B /r',
  'tdpbssd | RMV | t t t | VEX.128.F2.0F38.W0 5E /r',
  'tdpbsud | RMV | t t t | VEX.128.F3.0F38.W0 5E /r',
  'tdpbusd | RMV | t t t | VEX.128.66.0F38.W0 5E /r',
  'tdpbuud | RMV | t t t | VEX.128.0F38.W0 5E /r',
  'tdpbf16ps | RMV | t t t | VEX.128.F3.0F38.W0 5C /r',
  'tdpfp16ps | RMV | t t t | VEX.128.F2.0F38.W0 5C /r',
] as const;
