import type { ComponentChildren } from "preact";
import { sentence } from "./texts.ts";

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
