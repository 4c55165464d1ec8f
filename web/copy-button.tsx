/** Puts a text on the clipboard, and says for a moment that it did. */
import { useEffect, useState } from 'preact/hooks';
import { Icon } from './icons.tsx';

export function CopyButton({ text, label }: { readonly text: string; readonly label: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1500);
    return () => clearTimeout(timer);
  }, [copied]);
  // Browsers give it to pages of the same machine and of https only.
  if (navigator.clipboard === undefined) return null;
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setCopied(true),
      () => {}, // the browser was told not to
    );
  return (
    <button type="button" class="quiet" aria-label={copied ? 'Copied' : label} title={label} onClick={copy}>
      <Icon name={copied ? 'check' : 'copy'} />
    </button>
  );
}
