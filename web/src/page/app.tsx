import { useEffect, useRef, useState } from "preact/hooks";
import { createApi } from "../mesh/api.ts";
import { codeOf } from "../mesh/errors.ts";
import { createLocalMedia, type LocalMedia } from "../mesh/local-media.ts";
import type { CreatedMeeting, MeetingInfo } from "../mesh/protocol.ts";
import { Created } from "./created.tsx";
import { useSource } from "./hooks.ts";
import { Meeting } from "./meeting.tsx";
import { Notices } from "./notices.tsx";
import { Over } from "./over.tsx";
import { base, keyIn, linkOf } from "./place.ts";
import { preferences } from "./preferences.ts";
import { PreJoin } from "./prejoin.tsx";
import { joinMeeting, type Seat, type Session } from "./session.ts";
import { Start } from "./start.tsx";
import { rememberedDevice, rememberHostKey, rememberName } from "./storage.ts";
import { texts } from "./texts.ts";

type View =
  | { at: "start"; key: string; error: string }
  | { at: "created"; meeting: CreatedMeeting }
  | { at: "prejoin"; info: MeetingInfo; local: LocalMedia }
  | { at: "meeting"; session: Session; local: LocalMedia }
  | { at: "over"; key: string; code: string };

const api = createApi(base);

const newMedia = () =>
  createLocalMedia(navigator.mediaDevices, {
    audio: rememberedDevice("audio"),
    camera: rememberedDevice("camera"),
  });

export function App() {
  const [view, setView] = useState<View | null>(null);
  const now = useRef(view);
  useSource(preferences);
  now.current = view;

  /** Goes to a view, ends what the one before held open, and keeps the address in step. */
  function go(next: View, address?: string): void {
    const before = now.current;
    if (before?.at === "prejoin" && next.at !== "meeting") before.local.stop();
    if (before?.at === "meeting") {
      before.session.leave();
      before.local.stop();
    }
    now.current = next;
    setView(next);
    if (address !== undefined && address !== location.href) history.pushState(null, "", address);
    document.title = titleOf(next);
  }

  /** Rejects if the key fits no meeting; then the view stays what it is. */
  async function open(key: string): Promise<void> {
    const info = await api.meeting(key);
    go({ at: "prejoin", info, local: newMedia() }, linkOf(info.meeting_id));
  }

  async function openAddress(): Promise<void> {
    const key = keyIn(location.href);
    if (key === "") return go({ at: "start", key: "", error: "" });
    try {
      await open(key);
    } catch (error) {
      go({ at: "start", key, error: codeOf(error) });
    }
  }

  async function create(name: string): Promise<void> {
    const meeting = await api.createMeeting(name);
    rememberHostKey(meeting.meeting_id, meeting.host_key);
    go({ at: "created", meeting });
  }

  async function join(
    info: MeetingInfo,
    local: LocalMedia,
    who: Omit<Seat, "key">,
    waiting: (cancel: () => void) => void,
  ): Promise<void> {
    rememberName(who.name);
    const session = await joinMeeting(api, local, { key: info.meeting_id, ...who }, (stop) => {
      if (now.current?.at === "prejoin" && now.current.local === local) waiting(stop);
      else stop();
    });
    if (now.current?.at !== "prejoin" || now.current.local !== local) return session.leave(); // thought better of it
    session.mesh.on("ended", ({ code }) => go({ at: "over", key: info.meeting_id, code }));
    go({ at: "meeting", session, local });
  }

  // Once, for the life of the page.
  useEffect(() => {
    void openAddress();
    const moved = () => void openAddress();
    // A page that goes away leaves its meeting at once, and is never resumed: a reload begins anew as a
    // new participant. So no ghost stays behind, nobody is there twice, and a duplicated tab has nothing
    // with which to take the first one's seat. (The resume token lives in memory only.)
    const hide = () => {
      const view = now.current;
      if (view?.at === "meeting") go({ at: "over", key: view.session.key, code: "" });
    };
    addEventListener("popstate", moved);
    addEventListener("pagehide", hide);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener("pagehide", hide);
    };
  }, []);

  return (
    <>
      {view && draw(view)}
      <Notices />
    </>
  );

  function draw(view: View) {
    switch (view.at) {
      case "start":
        return <Start typed={view.key} error={view.error} create={create} open={open} />;
      case "created":
        return <Created meeting={view.meeting} open={() => open(view.meeting.meeting_id)} />;
      case "prejoin":
        return (
          <PreJoin
            info={view.info}
            local={view.local}
            join={(who, waiting) => join(view.info, view.local, who, waiting)}
            back={() => go({ at: "start", key: "", error: "" }, base)}
          />
        );
      case "meeting":
        return (
          <Meeting
            api={api}
            session={view.session}
            local={view.local}
            leave={() => go({ at: "over", key: view.session.key, code: "" })}
          />
        );
      case "over":
        return (
          <Over
            code={view.code}
            rejoin={() => open(view.key)}
            start={() => go({ at: "start", key: "", error: "" }, base)}
          />
        );
    }
  }
}

function titleOf(view: View): string {
  switch (view.at) {
    case "prejoin":
      return `${view.info.name || texts.untitled} · signald`;
    case "meeting":
      return `${view.session.mesh.view().meetingName || texts.untitled} · signald`;
    default:
      return "signald";
  }
}
