/**
 * What control groups of Linux allow a process: processor time and memory, the least of its group and all groups around it.
 * Version 2 (Documentation/admin-guide/cgroup-v2.rst) and version 1 (cgroup-v1/, scheduler/sched-bwc.rst), or both at once.
 */

/** The text of a file, or undefined where it cannot be read. */
export type ReadText = (path: string) => string | undefined;

export interface GroupLimits {
  /** Cores, may be a fraction. */
  readonly quota?: number;
  readonly memory?: { readonly limit: number; readonly used: number };
}

interface Mount {
  readonly version: 1 | 2;
  /** The group that is visible at `path`. */
  readonly root: string;
  readonly path: string;
  readonly controllers: readonly string[];
}

/** Version 1 says "no limit" with the largest multiple of a page in 63 bits. */
const unlimited = 2 ** 62;

export function controlGroupLimits(read: ReadText): GroupLimits {
  const mounts = parseMounts(read('/proc/self/mountinfo') ?? '');
  let quota = Number.POSITIVE_INFINITY;
  let memory: GroupLimits['memory'];
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match === null) continue;
    const [, controllers, path] = match;
    for (const folder of foldersOf(mounts, controllers === '' ? [] : controllers.split(','), path)) {
      quota = Math.min(quota, readQuota(read, folder));
      const found = readMemory(read, folder);
      if (found !== undefined && (memory === undefined || found.limit < memory.limit)) memory = found;
    }
  }
  return { ...(Number.isFinite(quota) ? { quota } : {}), ...(memory === undefined ? {} : { memory }) };
}

/** Lines of proc_pid_mountinfo(5): ids, device, root, mount point, options, optional fields, "-", type, source, super options. */
function parseMounts(text: string): Mount[] {
  const unescaped = (name: string) =>
    name.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
  return text.split('\n').flatMap((line): Mount[] => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, path] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    if (root === undefined || path === undefined || (type !== 'cgroup' && type !== 'cgroup2')) return [];
    const version = type === 'cgroup' ? 1 : 2;
    return [
      { version, root: unescaped(root), path: unescaped(path), controllers: version === 1 ? options.split(',') : [] },
    ];
  });
}

/** The folder of a group and of every group around it that is visible here. */
function foldersOf(mounts: readonly Mount[], controllers: readonly string[], group: string): string[] {
  const mount = mounts.find(({ version, controllers: has }) =>
    controllers.length === 0 ? version === 2 : version === 1 && controllers.some((name) => has.includes(name)),
  );
  if (mount === undefined) return [];
  const root = mount.root === '/' ? '' : mount.root;
  // A group outside of what is mounted (a container without a namespace of its own): the mount itself is what we see.
  const below = group === root || group.startsWith(`${root}/`) ? group.slice(root.length) : '';
  const parts = below.split('/').filter((part) => part !== '' && part !== '..');
  return [...parts.keys(), parts.length].map((count) => [mount.path, ...parts.slice(0, count)].join('/'));
}

function readQuota(read: ReadText, folder: string): number {
  const [quota, period] = (
    read(`${folder}/cpu.max`) ?? `${read(`${folder}/cpu.cfs_quota_us`)} ${read(`${folder}/cpu.cfs_period_us`)}`
  )
    .split(/\s+/)
    .map(Number);
  return quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY;
}

function readMemory(read: ReadText, folder: string): GroupLimits['memory'] {
  const number = (...names: string[]) =>
    Number(names.map((name) => read(`${folder}/${name}`)).find((text) => text !== undefined) ?? Number.NaN);
  const limit = number('memory.max', 'memory.limit_in_bytes');
  if (!(limit < unlimited)) return undefined;
  const used = number('memory.current', 'memory.usage_in_bytes');
  // Pages of files that nobody has used lately go before the limit is felt.
  const files = /^(?:total_)?inactive_file (\d+)$/m.exec(read(`${folder}/memory.stat`) ?? '');
  return { limit, used: Math.max(0, (used || 0) - Number(files?.[1] ?? 0)) };
}
