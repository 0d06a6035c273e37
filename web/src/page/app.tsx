import { useEffect, useRef, useState } from "preact/hooks";
import { createApi } from "../mesh/api.ts";
import { codeOf } from "../mesh/errors.ts";
import { createLocalMedia, type LocalMedia } from "../mesh/local-media.ts";
import type { CreatedMeeting, MeetingInfo } from "../mesh/protocol.ts";
import { Created } from "./created.tsx";
import { useSource } from "./hooks.ts";
import { identity } from "./identity.ts";
import { Meeting } from "./meeting.tsx";
import { Notices } from "./notices.tsx";
import { OtherSelf } from "./otherself.tsx";
import { Over } from "./over.tsx";
import { type Parting, rememberParting, takeParting } from "./parting.ts";
import { Lobby } from "./parts.tsx";
import { type Presence, phone } from "./phone.ts";
import { base, keyIn, linkOf } from "./place.ts";
import { preferences } from "./preferences.ts";
import { PreJoin } from "./prejoin.tsx";
import { persist } from "./returning.ts";
import { Ringing } from "./ringing.tsx";
import { joinMeeting, type Progress, type Seat, type Session } from "./session.ts";
import { Start } from "./start.tsx";
import { forgetPast, rememberedDevice, rememberHostKey, rememberName } from "./storage.ts";
import { texts } from "./texts.ts";
import { setTitle } from "./title.ts";

type View =
  | { at: "start"; key: string; error: string }
  | { at: "created"; meeting: CreatedMeeting }
  | { at: "returning"; local: LocalMedia; parting: Parting; trouble: boolean }
  | { at: "prejoin"; info: MeetingInfo; local: LocalMedia; atOnce: boolean; visit: number }
  | { at: "meeting"; session: Session; local: LocalMedia }
  | { at: "over"; key: string; code: string };

const api = createApi(base);
/** Codes after which nothing of a meeting is there to come back for. */
const gone = new Set(["meeting_not_found", "meeting_ended"]);

/** Each visit of the pre-join is one of its own. */
let visits = 0;

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
  /** Gives up the wait in a lobby, if there is one. */
  const stopWaiting = useRef(() => {});

  /** Goes to a view, ends what the one before held open, and keeps the address in step. */
  function go(next: View, address?: string): void {
    const before = now.current;
    if ((before?.at === "prejoin" || before?.at === "returning") && next.at !== "meeting")
      before.local.stop();
    if (before?.at === "meeting") {
      before.session.leave();
      before.local.stop();
    }
    now.current = next;
    setView(next);
    phone.be(presenceIn(next));
    if (address !== undefined && address !== location.href) history.pushState(null, "", address);
    setTitle(titleOf(next));
  }

  /** Rejects if the key fits no meeting; then the view stays what it is. */
  async function open(key: string, atOnce = false): Promise<void> {
    const info = await api.meeting(key).catch((error) => {
      if (gone.has(codeOf(error))) forgetPast(key);
      throw error;
    });
    go({ at: "prejoin", info, local: newMedia(), atOnce, visit: ++visits }, linkOf(info.meeting_id));
  }

  /** Into the meeting that we are called to, with the devices of the last time. */
  async function answerCall(key: string): Promise<void> {
    try {
      await open(key, true);
    } catch (error) {
      go({ at: "start", key, error: codeOf(error) }, base);
    }
  }

  async function openAddress(): Promise<void> {
    identity.take();
    const key = keyIn(location.href);
    const parting = takeParting(key);
    if (key === "") return go({ at: "start", key: "", error: "" });
    if (parting && (await comeBack(parting))) return;
    try {
      await open(key);
    } catch (error) {
      go({ at: "start", key, error: codeOf(error) });
    }
  }

  /** Takes the seat of the page that was here before. Answers whether this is settled so. */
  async function comeBack(parting: Parting): Promise<boolean> {
    const { key, name, token, audio, video, until } = parting;
    const local = newMedia();
    const here = () => now.current?.at === "returning" && now.current.local === local;
    go({ at: "returning", local, parting, trouble: false });
    void local.start({ audio, camera: video });
    const seat = { key, name, password: "", memo: "", resumeToken: token };
    try {
      const session = await persist(() => joinMeeting(api, local, seat, { waiting: (stop) => stop() }), {
        until,
        wanted: here,
        trouble() {
          now.current = { at: "returning", local, parting, trouble: true };
          setView(now.current);
        },
      });
      if (here()) enter(session, local);
      else session.leave();
      return true;
    } catch {
      rememberName(name);
      return !here();
    }
  }

  function enter(session: Session, local: LocalMedia): void {
    session.mesh.on("ended", ({ code }) => go({ at: "over", key: session.key, code }));
    go({ at: "meeting", session, local });
  }

  async function create(name: string, keepS: number): Promise<void> {
    const meeting = await api.createMeeting(name, keepS);
    rememberHostKey(meeting.meeting_id, meeting.host_key);
    go({ at: "created", meeting });
  }

  async function join(
    info: MeetingInfo,
    local: LocalMedia,
    who: Omit<Seat, "key">,
    progress: Required<Progress>,
  ): Promise<void> {
    if (identity.tokenFor(info.meeting_id) === "") rememberName(who.name);
    const here = () => now.current?.at === "prejoin" && now.current.local === local;
    const session = await joinMeeting(
      api,
      local,
      { key: info.meeting_id, ...who },
      {
        waiting(stop) {
          stopWaiting.current = stop;
          if (here()) progress.waiting(stop);
          else stop();
        },
        refused(code) {
          if (here()) progress.refused(code);
        },
      },
    );
    if (!here()) return session.leave(); // thought better of it
    enter(session, local);
  }

  // Once, for the life of the page.
  useEffect(() => {
    forgetPast(); // those whose time is over
    void openAddress();
    const moved = () => void openAddress();
    // A page that goes away leaves its meeting at once; what it leaves behind brings a reload back as the
    // same person. So no ghost stays, nobody is there twice, and a duplicated tab has nothing with which to
    // take the first one's seat: while a page lives, the resume token is in its memory only. (Where the chat is
    // kept it is in storage.ts as well, and used for reading on.)
    let parted = false;
    const hide = () => {
      stopWaiting.current();
      const view = now.current;
      if (view?.at === "returning") rememberParting(view.parting);
      if (view?.at !== "meeting") return;
      parted = true;
      view.session.part();
      go({ at: "over", key: view.session.key, code: "" });
      phone.be("off");
    };
    const show = ({ persisted }: PageTransitionEvent) => {
      if (persisted && parted) void openAddress(); // back from the browser's cache of pages
      parted = false;
    };
    addEventListener("popstate", moved);
    addEventListener("pagehide", hide);
    addEventListener("pageshow", show);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener("pagehide", hide);
      removeEventListener("pageshow", show);
    };
  }, []);

  return (
    <>
      {view && draw(view)}
      <Ringing join={answerCall} />
      <OtherSelf />
      <Notices />
    </>
  );

  function draw(view: View) {
    switch (view.at) {
      case "start":
        return <Start typed={view.key} error={view.error} create={create} open={open} />;
      case "created":
        return <Created meeting={view.meeting} open={() => open(view.meeting.meeting_id)} />;
      case "returning":
        return (
          <Lobby>
            <p role="status" data-testid="returning">
              {view.trouble ? texts.returning : texts.joining}
            </p>
          </Lobby>
        );
      case "prejoin":
        return (
          <PreJoin
            key={view.visit}
            atOnce={view.atOnce}
            info={view.info}
            local={view.local}
            join={(who, progress) => join(view.info, view.local, who, progress)}
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

function presenceIn(view: View): Presence {
  if (view.at === "meeting") return view.session.calls ? "off" : "busy";
  return view.at === "returning" ? "busy" : "free";
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
