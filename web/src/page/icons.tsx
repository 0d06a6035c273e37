import type { ComponentChildren } from "preact";

/** Drawn for this page on a 24 grid. Decoration: the text beside them says it. */
function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const MicIcon = () => (
  <Icon>
    <rect x="9" y="3" width="6" height="11" rx="3" />
    <path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" />
  </Icon>
);

export const MicOffIcon = () => (
  <Icon>
    <path d="M15 10.5V6a3 3 0 0 0-5.7-1.3M9 9v2a3 3 0 0 0 4.6 2.5M5.5 11.5a6.5 6.5 0 0 0 10.3 5.3M18.5 11.5a6.5 6.5 0 0 1-.5 2.5M12 18v3M4 4l16 16" />
  </Icon>
);

export const PhoneIcon = () => (
  <Icon>
    <path d="M6.5 3.5h2.6l1.6 4.2-2.1 1.6a12 12 0 0 0 6.1 6.1l1.6-2.1 4.2 1.6v2.6a2 2 0 0 1-2.2 2A16.5 16.5 0 0 1 4.5 5.7a2 2 0 0 1 2-2.2Z" />
  </Icon>
);

export const CameraIcon = () => (
  <Icon>
    <rect x="3" y="6.5" width="12.5" height="11" rx="2.5" />
    <path d="m15.5 11 5-3v8l-5-3" />
  </Icon>
);

export const CameraOffIcon = () => (
  <Icon>
    <path d="M9.5 6.5H13a2.5 2.5 0 0 1 2.5 2.5v2l5-3v8l-3-1.8M15 16a2.5 2.5 0 0 1-2 1.5H5.5A2.5 2.5 0 0 1 3 15V9a2.5 2.5 0 0 1 2.5-2.5M4 4l16 16" />
  </Icon>
);

export const ScreenIcon = () => (
  <Icon>
    <rect x="3" y="4.5" width="18" height="12" rx="2" />
    <path d="M8.5 20h7M12 13.5v-6M9.5 10 12 7.5l2.5 2.5" />
  </Icon>
);

export const LinkIcon = () => (
  <Icon>
    <path d="M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1" />
  </Icon>
);

export const LeaveIcon = () => (
  <Icon>
    <path d="M13.5 4.5H7a2 2 0 0 0-2 2v11a2 2 0 0 0 2 2h6.5M10.5 12H20M16.5 8.5 20 12l-3.5 3.5" />
  </Icon>
);

export const HostIcon = () => (
  <Icon>
    <path d="m12 4 2.3 4.9 5.2.7-3.8 3.7.9 5.3L12 16l-4.6 2.6.9-5.3L4.5 9.6l5.2-.7z" />
  </Icon>
);

export const HandIcon = () => (
  <Icon>
    <path d="M7.5 12V6.2a1.4 1.4 0 0 1 2.8 0V11M10.3 10.5V4.4a1.4 1.4 0 0 1 2.8 0v6.1M13.1 10.7V5.6a1.4 1.4 0 0 1 2.8 0v6M15.9 11.6V8.4a1.4 1.4 0 0 1 2.8 0v6.1a6.5 6.5 0 0 1-6.5 6.5c-2.6 0-4.2-1.2-5.4-3.3l-2.3-4a1.4 1.4 0 0 1 2.3-1.5l.7.8" />
  </Icon>
);

export const ChatIcon = () => (
  <Icon>
    <path d="M5.5 5h13A2.5 2.5 0 0 1 21 7.5v7a2.5 2.5 0 0 1-2.5 2.5H11l-5 3.5V17h-.5A2.5 2.5 0 0 1 3 14.5v-7A2.5 2.5 0 0 1 5.5 5zM8 9.5h8M8 12.8h5" />
  </Icon>
);

export const ClipIcon = () => (
  <Icon>
    <path d="m20 11-8.2 8.2a5 5 0 0 1-7.1-7.1l8.5-8.5a3.3 3.3 0 0 1 4.7 4.7l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4l7.8-7.8" />
  </Icon>
);

export const FileIcon = () => (
  <Icon>
    <path d="M13.5 3.5H7a2 2 0 0 0-2 2v13a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V9zM13.5 3.5V9H19" />
  </Icon>
);

export const PeopleIcon = () => (
  <Icon>
    <circle cx="9" cy="8.5" r="3.3" />
    <path d="M3 19c.4-3.4 2.8-5.2 6-5.2s5.6 1.8 6 5.2M15.5 5.6a3.2 3.2 0 0 1 0 5.8M17.6 14.2c2 .7 3.1 2.4 3.4 4.8" />
  </Icon>
);

export const SettingsIcon = () => (
  <Icon>
    <path d="M4 7h9M18.5 7H20M4 17h1.5M11 17h9" />
    <circle cx="15.8" cy="7" r="2.5" />
    <circle cx="8.2" cy="17" r="2.5" />
  </Icon>
);

export const PinIcon = () => (
  <Icon>
    <path d="M9 4h6M10 4v5.5L7 13.5h10L14 9.5V4M12 13.5V21" />
  </Icon>
);

export const CloseIcon = () => (
  <Icon>
    <path d="m6 6 12 12M18 6 6 18" />
  </Icon>
);

export const ShieldIcon = () => (
  <Icon>
    <path d="M12 3.5 5 6v5.5c0 4.4 2.9 7.4 7 9 4.1-1.6 7-4.6 7-9V6zM9 12l2.2 2.2L15.2 10" />
  </Icon>
);

/** Three bars, of which the class beside it lights some. */
export const QualityIcon = () => (
  <svg class="icon bars" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path class="bar-1" d="M6 19v-4" />
    <path class="bar-2" d="M12 19v-9" />
    <path class="bar-3" d="M18 19V5" />
  </svg>
);

/** The three corners of a mesh. */
export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <path class="mark-lines" d="M16 8 7 24M16 8l9 16M7 24h18" />
    <circle cx="16" cy="8" r="4" />
    <circle cx="7" cy="24" r="4" />
    <circle class="mark-you" cx="25" cy="24" r="4" />
  </svg>
);
