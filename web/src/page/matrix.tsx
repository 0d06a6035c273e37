import type { MeshView } from "../mesh/mesh.ts";
import type { Hearing, Matrix as Table } from "../mesh/protocol.ts";
import { texts } from "./texts.ts";

/** What stands for each: a sign, for who does not tell the colours apart. */
const signs: Record<Exclude<Hearing, "self">, string> = {
  hears: "✓",
  relayed: "⇄",
  poorly: "!",
  nothing: "✕",
  connecting: "…",
  disconnected: "✕",
  failed: "✕",
  refused: "⊘",
  unknown: "?",
};
const fine: Hearing[] = ["hears", "relayed", "poorly"];

/** Who hears whom, for who leads: rows hear columns. */
export function Matrix({ view }: { view: MeshView }) {
  const names = namesOf(view);
  const members = view.matrix?.members ?? [];
  const shown = members.filter((id) => names.has(id));
  if (!view.matrix || shown.length < 2) return null;
  const at = (from: string, of: string): Hearing =>
    view.matrix?.rows[members.indexOf(from)]?.[members.indexOf(of)] ?? "unknown";
  const name = (id: string) => names.get(id) ?? "";
  const seen = shown.flatMap((from) => shown.map((of) => at(from, of)));
  const legend = [...new Set(seen)].filter((hearing) => hearing !== "self");
  return (
    <section class="matrix" data-testid="matrix">
      <h3 id="matrix-title">{texts.matrix}</h3>
      <div class="matrix-news" role="status" data-testid="matrix-news">
        {newsOf(view.matrix, at, names).map((sentence) => (
          <p key={sentence} dir="auto">
            {sentence}
          </p>
        ))}
        {legend.every((hearing) => fine.includes(hearing)) && <p>{texts.allHear}</p>}
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what may have to be scrolled must be reached by keys */}
      <section class="matrix-scroll" tabIndex={0} aria-labelledby="matrix-title">
        <table>
          <thead>
            <tr>
              <td />
              {shown.map((id, i) => (
                <th key={id} scope="col" title={name(id)} aria-label={name(id)}>
                  {i + 1}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((from, i) => (
              <tr key={from}>
                <th scope="row" dir="auto" title={name(from)}>
                  {i + 1} {name(from)}
                </th>
                {shown.map((of) => (
                  <Cell key={of} hearing={at(from, of)} from={name(from)} of={name(of)} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <p class="hint">
        {texts.matrixHint}
        {legend.map((hearing) => (
          <span key={hearing}>
            {" · "}
            {signs[hearing]}&nbsp;{texts.hearings[hearing]}
          </span>
        ))}
      </p>
    </section>
  );
}

function Cell({ hearing, from, of }: { hearing: Hearing; from: string; of: string }) {
  if (hearing === "self") return <td class="self" />;
  const label = `${from} → ${of}: ${texts.hearings[hearing]}`;
  return (
    <td class={hearing} title={label} data-testid="hearing" data-of={`${from} ${of}`} data-hearing={hearing}>
      <span role="img" aria-label={label}>
        {signs[hearing]}
      </span>
    </td>
  );
}

function namesOf(view: MeshView): Map<string, string> {
  return new Map([
    [view.selfId, view.name],
    ...view.peers.map(({ info }) => [info.peer_id, info.name] as const),
  ]);
}

/** A sentence for each pair that is broken, and what is being done about it. */
function newsOf(
  { broken }: Table,
  at: (from: string, of: string) => Hearing,
  names: Map<string, string>,
): string[] {
  return broken.flatMap(({ a, b, tried }) => {
    const [first, second] = [names.get(a), names.get(b)];
    if (first === undefined || second === undefined) return [];
    const [one, other] = [fine.includes(at(a, b)), fine.includes(at(b, a))];
    if (one && other) return [];
    const remedy = tried === null ? "" : texts.remedies[tried];
    if (!one && !other) return [texts.apart(first, second) + remedy];
    return [(one ? texts.deafTo(second, first) : texts.deafTo(first, second)) + remedy];
  });
}
