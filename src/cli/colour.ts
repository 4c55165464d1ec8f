/** Colours for standard error, and only where that is a terminal (continuous integration pretends to be one). */
import { Ansis } from 'ansis';

export const colour = new Ansis(process.stderr.isTTY ? undefined : 0);
