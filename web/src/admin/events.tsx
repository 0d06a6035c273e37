import { useEffect, useState } from "preact/hooks";
import type { AdminApi, AuditEvent } from "./api.ts";
import { type Expired, useWork } from "./hooks.ts";
import { Cell, More, Problem, Table } from "./parts.tsx";
import { moment, texts } from "./texts.ts";

export function Events({ api, expired }: { api: AdminApi; expired: Expired }) {
  const t = texts();
  const [list, setList] = useState<AuditEvent[] | null>(null);
  const [cursor, setCursor] = useState("");
  const work = useWork(expired);

  const load = (before: AuditEvent[], from: string) =>
    work.run(async () => {
      const page = await api.events(from);
      setList([...before, ...page.items]);
      setCursor(page.next_cursor);
    });

  useEffect(() => void load([], ""), []);

  return (
    <section aria-labelledby="events-heading">
      <h2 id="events-heading">{t.headings.events}</h2>
      <Problem code={work.error} />
      {list === null && work.error === "" && <p>{t.loading}</p>}
      {list?.length === 0 && <p>{t.noEvents}</p>}
      {list !== null && list.length > 0 && (
        <Table
          caption={t.headings.events}
          heads={[t.time, t.kind, t.actor, t.subject, t.key, t.address, t.agent]}
        >
          {list.map((event, i) => (
            <tr key={`${event.created_at} ${i}`} data-testid="event" data-kind={event.kind}>
              <Cell head={t.time}>
                <time dateTime={event.created_at}>{moment(event.created_at)}</time>
              </Cell>
              <Cell head={t.kind}>{t.kinds[event.kind] ?? event.kind}</Cell>
              <Cell head={t.actor}>{event.actor}</Cell>
              <Cell head={t.subject}>{event.subject}</Cell>
              <Cell head={t.key}>{event.meeting_id && <code>{event.meeting_id}</code>}</Cell>
              <Cell head={t.address}>{event.ip}</Cell>
              <Cell head={t.agent}>
                <small class="agent">{event.user_agent}</small>
              </Cell>
            </tr>
          ))}
        </Table>
      )}
      {cursor !== "" && <More busy={work.busy} onMore={() => void load(list ?? [], cursor)} />}
    </section>
  );
}
