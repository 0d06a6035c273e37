import type { FileOffer } from "../mesh/files.ts";
import type { Line } from "./conversation.ts";
import { resumable } from "./downloads.ts";
import { safeName } from "./file-names.ts";
import { useSource } from "./hooks.ts";
import { FileIcon } from "./icons.tsx";
import { Progress } from "./progress.tsx";
import type { Session } from "./session.ts";
import { fits, memoryBytes } from "./sink.ts";
import { sizeText } from "./sizes.ts";
import { texts } from "./texts.ts";

interface FileCardProps {
  line: Line;
  offer: FileOffer;
  /** Those who are in the meeting. */
  names: Map<string, string>;
  session: Session;
}

/** A file that was offered in the chat: what it is, what may be done with it, and how far that is. */
export function FileCard(props: FileCardProps) {
  const { line, offer } = props;
  const name = safeName(offer.name);
  return (
    <div class="file" data-testid="file" data-own={line.own}>
      <p class="file-head">
        <FileIcon />
        <span class="file-name" dir="auto" data-testid="file-name">
          {name}
        </span>
        <span class="soft">{sizeText(offer.size)}</span>
      </p>
      {/* Its numbers change all the time: the log around it is read out, they are not. */}
      <div class="file-body" aria-live="off">
        {line.own ? <Offered {...props} name={name} /> : <Received {...props} name={name} />}
      </div>
    </div>
  );
}

function Offered({ offer, session: { sharing }, name }: FileCardProps & { name: string }) {
  useSource(sharing);
  const there = sharing.shares(offer.id);
  return (
    <>
      {sharing.readers(offer.id).map(({ peerId, name: who, done, total, rate, open }) =>
        open ? (
          <Progress
            key={peerId}
            label={`${name}: ${texts.files.sendingTo(who)}`}
            shown={texts.files.sendingTo(who)}
            done={done}
            total={total}
            rate={rate}
          />
        ) : (
          <p key={peerId} class="hint" dir="auto">
            {done === total ? texts.files.has(who) : texts.files.stopped(who)}
          </p>
        ),
      )}
      <div class="file-actions">
        <p class="hint">{there ? texts.files.offered : texts.files.notOffered}</p>
        {there && (
          <button
            type="button"
            class="quiet small"
            data-testid="file-stop"
            aria-label={`${texts.files.stop}: ${name}`}
            onClick={() => sharing.stop(offer.id)}
          >
            {texts.files.stop}
          </button>
        )}
      </div>
    </>
  );
}

function Received({ line, offer, names, session: { downloads }, name }: FileCardProps & { name: string }) {
  useSource(downloads);
  const download = downloads.of(line.message_id);
  const there = names.has(line.from);
  const fetch = () => void downloads.fetch(line);
  switch (download?.state) {
    case "fetching":
    case "waiting":
      return (
        <>
          <Progress
            label={texts.files.receiving(name)}
            done={download.done}
            total={offer.size}
            rate={download.rate}
          />
          {download.state === "waiting" && (
            <p class="hint" role="status" data-testid="file-waiting">
              {texts.files.waiting(line.name)}
            </p>
          )}
          <div class="file-actions">
            <button
              type="button"
              class="quiet small"
              data-testid="file-cancel"
              aria-label={`${texts.files.cancel}: ${name}`}
              onClick={() => downloads.cancel(line.message_id)}
            >
              {texts.files.cancel}
            </button>
          </div>
        </>
      );
    case "received":
      return (
        <>
          {download.picture !== "" && (
            <img class="file-picture" src={download.picture} alt={texts.files.picture(name)} />
          )}
          <p class="hint" data-testid="file-received">
            {texts.files.isReceived}
          </p>
        </>
      );
    case "failed":
      return (
        <>
          <p class="problem" data-testid="file-problem" data-code={download.code}>
            {texts.files.problems[download.code]}
          </p>
          {there && download.code !== "withdrawn" && (
            <div class="file-actions">
              <button type="button" class="secondary small" data-testid="file-again" onClick={fetch}>
                {resumable.has(download.code) ? texts.files.goOn : texts.files.again}
              </button>
            </div>
          )}
        </>
      );
    default:
      if (!there) return <p class="hint">{texts.files.goneBefore}</p>;
      if (!fits(offer.size)) return <p class="hint">{texts.files.tooLarge(sizeText(memoryBytes))}</p>;
      return (
        <div class="file-actions">
          <button
            type="button"
            class="secondary small"
            data-testid="file-save"
            aria-label={texts.files.saveOf(name)}
            onClick={fetch}
          >
            {texts.files.save}
          </button>
        </div>
      );
  }
}
