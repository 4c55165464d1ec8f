/** The buttons that open a side column, and that close one which lies over the page. */
import { Icon } from './icons.tsx';
import { open, toggle } from './view.ts';

interface ColumnButton {
  readonly side: 'sidebar' | 'inspector';
  readonly label: string;
}

export function OpenButton({ side, label }: ColumnButton) {
  return (
    <button
      type="button"
      class="quiet"
      aria-label={label}
      title={label}
      aria-expanded={open.value[side]}
      aria-controls={side}
      data-opens={side}
      onClick={() => toggle(side)}
    >
      <Icon name={side} />
    </button>
  );
}

export function CloseButton({ side, label }: ColumnButton) {
  return (
    <button type="button" class="quiet" aria-label={label} data-closes={side} onClick={() => toggle(side)}>
      <Icon name="close" />
    </button>
  );
}
