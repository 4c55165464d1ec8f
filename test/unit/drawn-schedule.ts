/** Machines whose code has schedules that nobody would choose: none of them changes a bit. */
import { choices, type Schedule } from '../../src/devices/cpu/schedule.ts';
import type { Machine } from './machine.ts';

/** `next`: integers from 0 on. */
function drawSchedule(next: () => number): Schedule {
  const draw = Object.entries(choices).map(([name, of]) => [name, of[next() % of.length]]);
  return Object.fromEntries(draw) as unknown as Schedule;
}

export function withSchedule(machine: Machine, schedule: Partial<Schedule>): Machine {
  const { target } = machine;
  return { ...machine, target: { ...target, schedule: { ...target.schedule, ...schedule } } };
}

export const withDrawnSchedule = (machine: Machine, next: () => number): Machine =>
  withSchedule(machine, drawSchedule(next));
