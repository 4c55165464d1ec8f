/** A clock for what has to end soon: it stands still while the machine works for others. */

/** Milliseconds that this process has computed. */
export function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
