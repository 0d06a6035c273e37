import { useEffect, useState } from "preact/hooks";
import type { AdminApi, Live } from "./api.ts";
import { type Expired, useWork } from "./hooks.ts";
import { Cell, Problem, Table } from "./parts.tsx";
import { moment, texts } from "./texts.ts";

const everyMs = 5_000;

export function LiveMeetings({ api, expired }: { api: AdminApi; expired: Expired }) {
  const t = texts();
  const [list, setList] = useState<Live[] | null>(null);
  const [sure, setSure] = useState("");
  const [said, setSaid] = useState("");
  const work = useWork(expired);

  const load = () => work.run(async () => setList((await api.live()).items));

  // For as long as it is shown.
  useEffect(() => {
    void load();
    const again = setInterval(() => {
      if (!document.hidden) void load();
    }, everyMs);
    return () => clearInterval(again);
  }, []);

  function end(meeting: Live): void {
    void work.run(async () => {
      await api.end(meeting.meeting_id);
      setSure("");
      setSaid(t.ended(meeting.name || meeting.meeting_id));
      setList((await api.live()).items);
    });
  }

  return (
    <section aria-labelledby="live-heading">
      <h2 id="live-heading">{t.headings.live}</h2>
      <Problem code={work.error} />
      <p role="status" data-testid="said">
        {said}
      </p>
      {list === null && work.error === "" && <p>{t.loading}</p>}
      {list?.length === 0 && <p data-testid="nobody">{t.nobody}</p>}
      {list !== null && list.length > 0 && (
        <Table caption={t.total(list.length)} heads={[t.name, t.key, t.people, t.node, t.since, t.action]}>
          {list.map((meeting) => (
            <tr key={meeting.meeting_id} data-testid="live">
              <Cell head={t.name}>{meeting.name}</Cell>
              <Cell head={t.key}>
                <code>{meeting.meeting_id}</code>
              </Cell>
              <Cell head={t.people}>
                {meeting.participants}
                {meeting.away > 0 && <small> ({t.away(meeting.away)})</small>}
              </Cell>
              <Cell head={t.node}>
                {Object.entries(meeting.nodes)
                  .map(([node, people]) => `${node}: ${people}`)
                  .join(", ")}
              </Cell>
              <Cell head={t.since}>
                <time dateTime={meeting.since}>{moment(meeting.since)}</time>
              </Cell>
              <Cell head={t.action}>
                {sure === meeting.meeting_id ? (
                  <span class="row">
                    <button type="button" class="danger" data-testid="end-sure" onClick={() => end(meeting)}>
                      {t.endSure}
                    </button>
                    <button type="button" class="quiet" onClick={() => setSure("")}>
                      {t.cancel}
                    </button>
                  </span>
                ) : (
                  <button
                    type="button"
                    class="secondary"
                    aria-label={`${t.end}: ${meeting.name || meeting.meeting_id}`}
                    data-testid="end"
                    onClick={() => setSure(meeting.meeting_id)}
                  >
                    {t.end}
                  </button>
                )}
              </Cell>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}
