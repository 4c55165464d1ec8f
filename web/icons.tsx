/** The page's icons: strokes on a grid of 20, in the colour of the text around them. They say nothing to a screen reader. */

const paths = {
  sidebar: 'M3.5 4.5h13v11h-13zM8 4.5v11',
  inspector: 'M3.5 4.5h13v11h-13zM12 4.5v11',
  compose: 'M10.5 4.5h-6v11h11v-6M9 11l.5-2.5 6-6 2 2-6 6z',
  send: 'M10 16V4.5M5 9.5l5-5 5 5',
  copy: 'M7 7V3.5h9.5V13H13M3.5 7H13v9.5H3.5z',
  check: 'M4 10.5l4 4 8-9',
  again: 'M15.5 8A6 6 0 1 0 16 11M16 4v4h-4',
  edit: 'M4 16l.6-3L13 4.6l2.4 2.4L7 15.4z',
  trash: 'M4 5.5h12M8 5.5V3.5h4v2M5.5 5.5l.7 11h7.6l.7-11',
  left: 'M12 5l-5 5 5 5',
  right: 'M8 5l5 5-5 5',
  down: 'M10 4v11.5M5 10.5l5 5 5-5',
  close: 'M5 5l10 10M15 5L5 15',
} as const;

export function Icon({ name }: { readonly name: keyof typeof paths }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

/** An ingot. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path class="top" d="M9.6 8h12.8a1.5 1.5 0 0 1 1.4.95L26.4 16H5.6l2.6-7.05A1.5 1.5 0 0 1 9.6 8Z" />
      <path class="front" d="M5.6 16h20.8l2.1 6a1.5 1.5 0 0 1-1.4 2H4.9a1.5 1.5 0 0 1-1.4-2l2.1-6Z" />
    </svg>
  );
}
