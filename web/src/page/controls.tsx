import type { ComponentChildren } from "preact";
import type { LocalMedia } from "../mesh/local-media.ts";
import {
  CameraIcon,
  CameraOffIcon,
  ChatIcon,
  HandIcon,
  LeaveIcon,
  MicIcon,
  MicOffIcon,
  PeopleIcon,
  ScreenIcon,
  SettingsIcon,
} from "./icons.tsx";
import { texts } from "./texts.ts";

interface SwitchProps {
  local: LocalMedia;
  allowed: boolean;
}

export function MicSwitch({ local, allowed }: SwitchProps) {
  const on = local.wish().audio;
  return (
    <Control
      label={on ? texts.mute : texts.unmute}
      off={!on}
      coming={on && !local.state().audio ? texts.coming.mic : ""}
      disabled={!allowed}
      testid="toggle-mic"
      press={() => void local.setAudio(!on)}
    >
      {on ? <MicIcon /> : <MicOffIcon />}
    </Control>
  );
}

export function CameraSwitch({ local, allowed }: SwitchProps) {
  const on = local.wish().camera;
  return (
    <Control
      label={on ? texts.cameraOff : texts.cameraOn}
      off={!on}
      coming={on && !local.state().video ? texts.coming.camera : ""}
      disabled={!allowed}
      testid="toggle-camera"
      press={() => void local.setCamera(!on)}
    >
      {on ? <CameraIcon /> : <CameraOffIcon />}
    </Control>
  );
}

export type PanelName = "people" | "chat" | "settings" | "help";

interface ControlsProps {
  local: LocalMedia;
  maySpeak: boolean;
  mayShow: boolean;
  panel: PanelName | "";
  unread: number;
  /** In the lobby, for who may let them in. */
  waiting: number;
  toggle(panel: PanelName): void;
  leave(): void;
}

/** Phones can't. */
export const canShare = typeof navigator.mediaDevices?.getDisplayMedia === "function";

export function Controls({ local, maySpeak, mayShow, panel, unread, waiting, toggle, leave }: ControlsProps) {
  const { screen, hand } = local.state();
  const opener = (name: PanelName, label: string, icon: ComponentChildren) => (
    <Control
      label={label}
      active={panel === name}
      expanded={panel === name}
      testid={`open-${name}`}
      press={() => toggle(name)}
    >
      {icon}
    </Control>
  );
  return (
    <section class="controls" aria-label={texts.controls}>
      <MicSwitch local={local} allowed={maySpeak} />
      <CameraSwitch local={local} allowed={mayShow} />
      {canShare && (
        <Control
          label={screen ? texts.unshare : texts.share}
          active={screen}
          disabled={!mayShow}
          testid="toggle-screen"
          press={() => void local.setScreen(!screen)}
        >
          <ScreenIcon />
        </Control>
      )}
      <Control
        label={hand === null ? texts.hand : texts.handDown}
        active={hand !== null}
        testid="toggle-hand"
        press={() => local.setHand(hand === null)}
      >
        <HandIcon />
      </Control>
      {opener(
        "chat",
        unread > 0 ? texts.chatUnread(unread) : texts.chat,
        <Counted icon={<ChatIcon />} count={unread} testid="unread" />,
      )}
      {opener(
        "people",
        waiting > 0 ? texts.peopleWaiting(waiting) : texts.peopleButton,
        <Counted icon={<PeopleIcon />} count={waiting} testid="lobby-count" />,
      )}
      {opener("settings", texts.more, <SettingsIcon />)}
      <Control label={texts.leave} danger testid="leave" press={leave}>
        <LeaveIcon />
      </Control>
    </section>
  );
}

function Counted({ icon, count, testid }: { icon: ComponentChildren; count: number; testid: string }) {
  return (
    <span class="with-count">
      {icon}
      {count > 0 && <b data-testid={testid}>{count}</b>}
    </span>
  );
}

interface ControlProps {
  label: string;
  testid: string;
  press(): void;
  children: ComponentChildren;
  off?: boolean;
  active?: boolean;
  danger?: boolean;
  disabled?: boolean;
  expanded?: boolean;
  /** Its device is switched on and not there yet, in words. */
  coming?: string;
}

/** The label says what a press will do, so it needs no pressed state beside it. */
function Control({ coming = "", ...props }: ControlProps) {
  const look = [
    "control",
    props.off && "off",
    coming !== "" && "coming",
    props.active && "active",
    props.danger && "danger",
  ];
  const hint = `${props.testid}-coming`;
  return (
    <>
      <button
        type="button"
        class={look.filter(Boolean).join(" ")}
        disabled={props.disabled ?? false}
        {...(props.expanded === undefined ? {} : { "aria-expanded": props.expanded })}
        {...(coming === "" ? {} : { "aria-busy": true, "aria-describedby": hint, title: coming })}
        data-testid={props.testid}
        onClick={props.press}
      >
        {props.children}
        <span class="label">{props.label}</span>
      </button>
      {coming !== "" && (
        <span id={hint} hidden>
          {coming}
        </span>
      )}
    </>
  );
}
