/** The processes of ranks that a command has started: children of a launcher that is its child, or is what was started. */
import { readdirSync, readFileSync } from 'node:fs';

interface Running {
  readonly pid: number;
  readonly parent: number;
  readonly words: readonly string[];
}

function running(): readonly Running[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      // Behind the name, which may hold anything: the state and the parent.
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' ? [] : [{ pid: Number(name), parent: Number(parent), words }];
    } catch {
      return [];
    }
  });
}

/** Of `command`, below the process `from`, in the order in which they were started. */
export function rankProcesses(from: number, command = 'rank'): readonly number[] {
  const all = running();
  const below = (pids: readonly number[]): readonly Running[] => {
    const children = all.filter(({ parent }) => pids.includes(parent));
    return children.length === 0 ? [] : [...children, ...below(children.map(({ pid }) => pid))];
  };
  const ranks = below([from]).filter(({ words }) => words.includes(command) && !/mpi/.test(words[0]));
  return ranks.map(({ pid }) => pid).sort((a, b) => a - b);
}

export function isRunning(pid: number): boolean {
  return running().some((each) => each.pid === pid);
}
