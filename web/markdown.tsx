/**
 * Markdown (GitHub's flavour, read by `marked`) to elements. Nothing becomes HTML by way of text: what a model writes as tags is shown as
 * written, links go to the web or to mail only, and images, which would ask other servers, are links too.
 */
import { Lexer, type MarkedToken, type Token, type Tokens } from 'marked';
import type { ComponentChildren, VNode } from 'preact';
import { CopyButton } from './copy-button.tsx';

/** Deeper than anybody writes: what lies below is shown as text. */
const deepest = 24;

export function markdown(text: string): ComponentChildren {
  try {
    return many(Lexer.lex(text, { gfm: true, breaks: true }), deepest);
  } catch {
    return <p>{text}</p>; // nested beyond what the lexer's recursion holds
  }
}

const many = (tokens: readonly Token[] | undefined, depth: number): ComponentChildren =>
  depth === 0 ? tokens?.map(({ raw }) => raw) : tokens?.map((token) => one(token, depth - 1));

function one(generic: Token, depth: number): ComponentChildren {
  // marked's union has a last member of any type, for extensions that nobody uses here.
  const token = generic as MarkedToken;
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'paragraph':
      return <p>{many(token.tokens, depth)}</p>;
    case 'heading':
      return heading(token, depth);
    case 'code':
      return <CodeBlock text={token.text} language={token.lang ?? ''} />;
    case 'blockquote':
      return <blockquote>{many(token.tokens, depth)}</blockquote>;
    case 'hr':
      return <hr />;
    case 'list':
      return list(token, depth);
    case 'list_item':
      return <li>{many(token.tokens, depth)}</li>;
    case 'checkbox':
      return token.checked ? '☑ ' : '☐ ';
    case 'table':
      return table(token, depth);
    case 'text':
      return 'tokens' in token && token.tokens !== undefined ? many(token.tokens, depth) : characters(token.text);
    case 'escape':
      return token.text;
    case 'strong':
      return <strong>{many(token.tokens, depth)}</strong>;
    case 'em':
      return <em>{many(token.tokens, depth)}</em>;
    case 'del':
      return <del>{many(token.tokens, depth)}</del>;
    case 'codespan':
      return <code>{token.text}</code>;
    case 'br':
      return <br />;
    case 'link':
      return link(token.href, many(token.tokens, depth));
    case 'image':
      return link(token.href, token.text === '' ? token.href : token.text);
    case 'html':
      return token.text;
    default:
      token satisfies never;
      return generic.raw;
  }
}

/** A page has its own first headings, so an answer's begin below. */
function heading(token: Tokens.Heading, depth: number): VNode {
  const Name = (['h3', 'h4', 'h5', 'h6'] as const)[Math.min(token.depth, 4) - 1] ?? 'h6';
  return <Name>{many(token.tokens, depth)}</Name>;
}

function list({ ordered, start, items }: Tokens.List, depth: number): VNode {
  const entries = many(items, depth);
  return ordered ? <ol start={Number(start) || 1}>{entries}</ol> : <ul>{entries}</ul>;
}

function table({ header, rows }: Tokens.Table, depth: number): VNode {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section class="scroll" tabIndex={0} aria-label="Table">
      <table>
        <thead>
          <tr>
            {header.map(({ tokens, align }) => (
              <th data-align={align}>{many(tokens, depth)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {row.map(({ tokens, align }) => (
                <td data-align={align}>{many(tokens, depth)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function link(href: string, content: ComponentChildren): ComponentChildren {
  if (!/^(https?:\/\/|mailto:)/i.test(href)) return content;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {content}
    </a>
  );
}

function CodeBlock({ text, language }: { readonly text: string; readonly language: string }) {
  const name = language.split(/\s/)[0] ?? '';
  return (
    <figure class="code">
      <figcaption>
        <span>{name}</span>
        <CopyButton text={text} label="Copy code" />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

/** Text with the character references that models write. */
function characters(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal, hexadecimal, name) => {
    const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hexadecimal ?? '', 16);
    if (Number.isNaN(code)) return named[name] ?? whole;
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
