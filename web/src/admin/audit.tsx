import { useEffect, useRef, useState } from "preact/hooks";
import type { AdminApi, Chain, Row, Summary } from "./api.ts";
import { Histogram, nameOf, WorldMap } from "./charts.tsx";
import { type Field, type Filters, fields } from "./filters.ts";
import { type Expired, useWork } from "./hooks.ts";
import { Cell, More, Problem, Table } from "./parts.tsx";
import { moment, texts } from "./texts.ts";

interface AuditProps {
  api: AdminApi;
  filters: Filters;
  show(filters: Filters): void;
  expired: Expired;
}

/** How many pages are asked for at a time, where a page holds little of a large audit. */
const patience = 5;
const pageful = 50;

export function Audit({ api, filters, show, expired }: AuditProps) {
  const t = texts();
  const [rows, setRows] = useState<Row[] | null>(null);
  const [cursor, setCursor] = useState("");
  const [summary, setSummary] = useState<Summary | null>(null);
  const work = useWork(expired);
  const latest = useRef(filters);
  latest.current = filters;

  async function load(before: Row[], from: string): Promise<void> {
    const found = [...before];
    let next = from;
    for (let pages = 0; pages < patience && found.length - before.length < pageful; pages++) {
      const page = await api.audit(filters, next);
      found.push(...page.items);
      next = page.next_cursor;
      if (next === "") break;
    }
    if (latest.current !== filters) return; // thought better of it
    setRows(found);
    setCursor(next);
  }

  // Once for each set of filters.
  useEffect(() => {
    void work.run(async () => {
      await load([], "");
      const counted = await api.summary(filters);
      if (latest.current === filters) setSummary(counted);
    });
  }, [filters]);

  return (
    <section aria-labelledby="audit-heading">
      <h2 id="audit-heading">{t.headings.audit}</h2>
      <FilterForm key={JSON.stringify(filters)} filters={filters} show={show} />
      <Problem code={work.error} />
      {summary && (
        <div class="charts">
          <WorldMap
            summary={summary}
            choose={({ city, country }) =>
              show({ ...filters, ...(city ? { city } : {}), ...(country ? { country } : {}) })
            }
          />
          <Histogram summary={summary} />
        </div>
      )}
      <ChainState api={api} />
      <p class="toolbar">
        <a class="secondary" href={api.csv(filters)} download data-testid="csv">
          {t.csv}
        </a>
      </p>
      {rows?.length === 0 && !work.busy && cursor === "" && <p data-testid="nothing">{t.nothing}</p>}
      {rows !== null && rows.length > 0 && (
        <Table caption={t.headings.audit} heads={[t.time, t.name, t.address, t.place, t.key, t.agent]}>
          {rows.map((row) => (
            <tr key={`${row.created_at} ${row.meeting_id}`} data-testid="row">
              <Cell head={t.time}>
                <time dateTime={row.created_at}>{moment(row.created_at)}</time>
              </Cell>
              <Cell head={t.name}>{row.name}</Cell>
              <Cell head={t.address}>
                <span class="address">{row.creator_ip}</span>
              </Cell>
              <Cell head={t.place}>{nameOf(row)}</Cell>
              <Cell head={t.key}>
                <code>{row.meeting_id}</code>
              </Cell>
              <Cell head={t.agent}>
                <small class="agent">{row.user_agent}</small>
              </Cell>
            </tr>
          ))}
        </Table>
      )}
      {cursor !== "" && (
        <More busy={work.busy} onMore={() => void work.run(() => load(rows ?? [], cursor))} />
      )}
      {rows === null && work.busy && <p>{t.loading}</p>}
    </section>
  );
}

/** How far the chain of hashes is intact. The server checks a bit with each call, so the page asks until it has all. */
function ChainState({ api }: Pick<AuditProps, "api">) {
  const t = texts();
  const [chain, setChain] = useState<Chain | null>(null);
  useEffect(() => {
    let shown = true;
    async function look(): Promise<void> {
      for (let behind = true; shown && behind; ) {
        const next = await api.chain();
        if (shown) setChain(next);
        behind = next.intact && next.rows < next.head;
      }
    }
    look().catch(() => undefined); // the table says what is wrong
    return () => {
      shown = false;
    };
  }, []);
  if (chain === null) return null;
  return (
    <p
      class={chain.intact ? "chain" : "chain error"}
      role={chain.intact ? undefined : "alert"}
      data-testid="chain"
    >
      {chain.intact ? t.intact(chain.rows, chain.head) : t.broken(chain.broken ?? 0)}{" "}
      <code>{chain.up_to}</code>
    </p>
  );
}

function FilterForm({ filters, show }: Pick<AuditProps, "filters" | "show">) {
  const t = texts();
  const [typed, setTyped] = useState(filters);
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        show(typed);
      }}
    >
      {fields.map((field) => (
        <label class="field" key={field}>
          <span>{t.fields[field]}</span>
          <input
            {...typeOf(field, typed[field])}
            value={typed[field] ?? ""}
            autoComplete="off"
            autoCapitalize="off"
            spellcheck={false}
            data-testid={`filter-${field}`}
            onInput={(event) => setTyped({ ...typed, [field]: event.currentTarget.value.trim() })}
          />
        </label>
      ))}
      <div class="row">
        <button type="submit" class="primary" data-testid="filter">
          {t.filter}
        </button>
        <button type="button" class="quiet" data-testid="clear" onClick={() => show({})}>
          {t.clear}
        </button>
      </div>
    </form>
  );
}

/** A link may hold a time of day, for which a date's field has no room. */
function typeOf(field: Field, value = "") {
  const isDate = (field === "from" || field === "to") && /^(\d{4}-\d{2}-\d{2})?$/.test(value);
  return isDate ? { type: "date" as const } : { type: "text" as const };
}
