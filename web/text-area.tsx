/** A field that grows with its text, up to what its style allows, and that Enter sends. */
import type { RefObject } from 'preact';
import { useLayoutEffect } from 'preact/hooks';

interface TextAreaProps {
  readonly id?: string;
  readonly label: string;
  readonly placeholder?: string;
  readonly value: string;
  readonly area: RefObject<HTMLTextAreaElement | null>;
  readonly onInput: (value: string) => void;
  readonly onEnter?: () => void;
  readonly onKeyDown?: (event: KeyboardEvent) => void;
}

export function TextArea({ id, label, placeholder, value, area, onInput, onEnter, onKeyDown }: TextAreaProps) {
  useLayoutEffect(() => {
    const { current } = area;
    if (current === null) return;
    current.style.height = 'auto';
    current.style.height = `${current.scrollHeight}px`;
  }, [value]);
  return (
    <textarea
      id={id}
      ref={area}
      rows={1}
      aria-label={label}
      dir="auto"
      placeholder={placeholder}
      value={value}
      onInput={({ currentTarget }) => onInput(currentTarget.value)}
      onKeyDown={(event) => {
        // Enter also ends the composition of a character.
        if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && onEnter !== undefined) {
          event.preventDefault();
          onEnter();
        } else onKeyDown?.(event);
      }}
    />
  );
}
