import type { ComponentChildren } from "preact";
import { sentence, texts } from "./texts.ts";

export function Problem({ code }: { code: string }) {
  return (
    <p class="problem" role="alert" data-testid="error" data-code={code}>
      {code === "" ? "" : sentence(code)}
    </p>
  );
}

/** On a phone each row is a card whose cells are named: so a cell knows its head. */
export function Table({
  caption,
  heads,
  children,
}: {
  caption: string;
  heads: string[];
  children: ComponentChildren;
}) {
  return (
    <table>
      <caption class="unseen">{caption}</caption>
      <thead>
        <tr>
          {heads.map((head) => (
            <th key={head} scope="col">
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

export function Cell({ head, children }: { head: string; children?: ComponentChildren }) {
  return <td data-head={head}>{children}</td>;
}

/** Asks for the rows after those that are shown; not twice at a time. */
export function More({ busy, onMore }: { busy: boolean; onMore: () => void }) {
  const t = texts();
  return (
    <button
      type="button"
      class="secondary"
      aria-busy={busy}
      data-testid="more"
      onClick={() => {
        if (!busy) onMore();
      }}
    >
      {busy ? t.loading : t.more}
    </button>
  );
}
