/** The files that others offer us and that we fetch. Nothing of them stays with the page when it leaves. */
import { FileError, type FileFailure } from "../mesh/errors.ts";
import { createEvents, type Events } from "../mesh/events.ts";
import { type FileOffer, fileOf } from "../mesh/files.ts";
import type { Mesh } from "../mesh/mesh.ts";
import type { Conversation, Line } from "./conversation.ts";
import { safeName } from "./file-names.ts";
import { notices } from "./live.ts";
import { paced } from "./pace.ts";
import { openSink, type Sink } from "./sink.ts";
import { createMeter } from "./sizes.ts";
import { texts } from "./texts.ts";

export interface Download {
  /** `waiting`: the connection is lost, and it goes on by itself. */
  state: "fetching" | "waiting" | "received" | "failed";
  done: number;
  /** Bytes a second. */
  rate: number;
  /** Why it failed. */
  code: FileFailure;
  /** Of a picture that may be shown. */
  picture: string;
}

export interface Downloads {
  readonly on: Events<{ change: undefined }>["on"];
  /** Of the message that offers it; undefined if it was not asked for, or was cancelled. */
  of(messageId: string): Download | undefined;
  /** Fetches it, or what is missing of it. To be called while a press of the user counts. */
  fetch(line: Line): Promise<void>;
  cancel(messageId: string): void;
  close(): void;
}

interface Going extends Download {
  /** Null when all is done: what was received is the user's. */
  sink: Sink | null;
  stop: AbortController;
}

/** What browsers draw as a picture, and no more than a picture: SVG may hold anything. */
const pictures = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
const pictureBytes = 5e6;
/** What has arrived so far is right, and the rest may come. */
export const resumable: ReadonlySet<FileFailure> = new Set(["gone", "broken"]);
/** The browser has begun to save long before. */
const savingMs = 60_000;

export function createDownloads(mesh: Mesh, conversation: Conversation): Downloads {
  const events = createEvents<{ change: undefined }>();
  const downloads = new Map<string, Going>();
  const urls = new Set<string>();
  let closed = false;
  const changed = () => events.emit("change", undefined);
  const progressed = paced(changed);

  /** Hands a file to the browser, which saves it as it saves everything. */
  function save(whole: Blob, name: string): void {
    // Whatever it says it is, it is not opened here.
    const url = URL.createObjectURL(whole.slice(0, whole.size, "application/octet-stream"));
    urls.add(url);
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => release(url), savingMs);
  }

  function release(url: string): void {
    if (urls.delete(url)) URL.revokeObjectURL(url);
  }

  function drop(id: string): void {
    const going = downloads.get(id);
    if (!going) return;
    downloads.delete(id);
    going.stop.abort();
    going.sink?.discard();
    release(going.picture);
    changed();
  }

  async function begin(id: string, offer: FileOffer): Promise<Going | null> {
    // What has arrived counts, unless it was wrong.
    const sink = downloads.get(id)?.sink ?? (await openSink(safeName(offer.name), offer.size));
    if (closed) sink?.discard();
    if (!sink || closed) return null;
    release(downloads.get(id)?.picture ?? "");
    const going: Going = {
      state: "fetching",
      done: sink.arrival.done(),
      rate: 0,
      code: "aborted",
      picture: "",
      sink,
      stop: new AbortController(),
    };
    downloads.set(id, going);
    changed();
    return going;
  }

  async function run(going: Going, sink: Sink, offer: FileOffer, from: string): Promise<void> {
    const meter = createMeter();
    const whole = await mesh.files.fetch(from, offer, {
      arrival: sink.arrival,
      signal: going.stop.signal,
      onProgress(done) {
        going.state = "fetching";
        going.done = done;
        going.rate = meter(done);
        progressed();
      },
      onWaiting() {
        going.state = "waiting";
        going.rate = 0;
        changed();
      },
    });
    try {
      await sink.keep();
    } catch (cause) {
      throw new FileError("unwritable", { cause });
    }
    if (going.stop.signal.aborted) return;
    going.state = "received";
    going.sink = null;
    if (!sink.onDisk) save(whole, safeName(offer.name));
    if (pictures.has(offer.type) && whole.size > 0 && whole.size <= pictureBytes) {
      going.picture = URL.createObjectURL(whole);
      urls.add(going.picture);
    }
    notices.say(texts.files.received(safeName(offer.name)));
    changed();
  }

  function fail(going: Going, code: FileFailure): void {
    going.state = "failed";
    going.code = code;
    if (!resumable.has(code)) {
      going.sink?.discard();
      going.sink = null;
    }
    changed();
  }

  // What is taken back is not fetched to its end.
  const stopListening = conversation.on("change", () => {
    for (const line of conversation.lines()) {
      if (line.revoked) drop(line.message_id);
    }
  });

  return {
    on: events.on,
    of: (id) => downloads.get(id),

    async fetch(line) {
      const id = line.message_id;
      const offer = offerIn(line);
      const before = downloads.get(id)?.state;
      if (!offer || before === "fetching" || before === "waiting") return;
      let going: Going | null = null;
      try {
        going = await begin(id, offer);
        if (going?.sink) await run(going, going.sink, offer, line.from);
      } catch (error) {
        if (going?.stop.signal.aborted) return; // it is forgotten already
        if (!(error instanceof FileError)) console.warn("signald:", error);
        const code = error instanceof FileError ? error.code : "unwritable";
        notices.say(texts.files.failed(safeName(offer.name), texts.files.problems[code]));
        if (going) fail(going, code);
      }
    },

    cancel: drop,

    close() {
      closed = true;
      stopListening();
      for (const id of [...downloads.keys()]) drop(id);
      for (const url of [...urls]) release(url);
    },
  };
}

/** The offer in a line, if there still is one. */
export const offerIn = (line: Line): FileOffer | null => (line.revoked ? null : fileOf(line.meta));
