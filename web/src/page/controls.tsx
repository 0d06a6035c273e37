import type { ComponentChildren } from "preact";
import type { LocalMedia } from "../mesh/local-media.ts";
import { CameraIcon, CameraOffIcon, LeaveIcon, LinkIcon, MicIcon, MicOffIcon, ScreenIcon } from "./icons.tsx";
import { CopyButton } from "./parts.tsx";
import { texts } from "./texts.ts";

interface SwitchProps {
  local: LocalMedia;
  allowed: boolean;
}

export function MicSwitch({ local, allowed }: SwitchProps) {
  const on = local.state().audio;
  return (
    <Control
      label={on ? texts.mute : texts.unmute}
      off={!on}
      disabled={!allowed}
      testid="toggle-mic"
      press={() => void local.setAudio(!on)}
    >
      {on ? <MicIcon /> : <MicOffIcon />}
    </Control>
  );
}

export function CameraSwitch({ local, allowed }: SwitchProps) {
  const on = local.state().video;
  return (
    <Control
      label={on ? texts.cameraOff : texts.cameraOn}
      off={!on}
      disabled={!allowed}
      testid="toggle-camera"
      press={() => void local.setCamera(!on)}
    >
      {on ? <CameraIcon /> : <CameraOffIcon />}
    </Control>
  );
}

interface ControlsProps {
  local: LocalMedia;
  link: string;
  maySpeak: boolean;
  mayShow: boolean;
  leave(): void;
}

export function Controls({ local, link, maySpeak, mayShow, leave }: ControlsProps) {
  const sharing = local.state().screen;
  const canShare = typeof navigator.mediaDevices?.getDisplayMedia === "function"; // phones can't
  return (
    <section class="controls" aria-label={texts.controls}>
      <MicSwitch local={local} allowed={maySpeak} />
      <CameraSwitch local={local} allowed={mayShow} />
      {canShare && (
        <Control
          label={sharing ? texts.unshare : texts.share}
          active={sharing}
          disabled={!mayShow}
          testid="toggle-screen"
          press={() => void local.setScreen(!sharing)}
        >
          <ScreenIcon />
        </Control>
      )}
      <CopyButton class="control" value={link}>
        <LinkIcon />
        <span>{texts.copyLink}</span>
      </CopyButton>
      <Control label={texts.leave} danger testid="leave" press={leave}>
        <LeaveIcon />
      </Control>
    </section>
  );
}

/** The label says what a press will do, so it needs no pressed state beside it. */
function Control(props: {
  label: string;
  testid: string;
  press(): void;
  children: ComponentChildren;
  off?: boolean;
  active?: boolean;
  danger?: boolean;
  disabled?: boolean;
}) {
  const look = ["control", props.off && "off", props.active && "active", props.danger && "danger"];
  return (
    <button
      type="button"
      class={look.filter(Boolean).join(" ")}
      disabled={props.disabled ?? false}
      data-testid={props.testid}
      onClick={props.press}
    >
      {props.children}
      <span>{props.label}</span>
    </button>
  );
}
