import type { LocalMedia } from "../mesh/local-media.ts";
import { DevicePickers } from "./devices.tsx";
import { Panel } from "./panel.tsx";
import { preferences, type Theme, themes } from "./preferences.ts";
import { type Language, languageNames, texts } from "./texts.ts";

export function Settings({ local, close }: { local: LocalMedia; close(): void }) {
  return (
    <Panel title={texts.more} testid="settings" close={close}>
      <DevicePickers local={local} />
      <hr />
      <div class="pickers">
        <Preferences />
      </div>
      <hr />
      <ShortcutList />
    </Panel>
  );
}

export function Preferences() {
  return (
    <>
      <label class="field">
        <span>{texts.language}</span>
        <select
          value={preferences.language()}
          data-testid="language"
          onChange={(event) => preferences.setLanguage(event.currentTarget.value as Language | "auto")}
        >
          <option value="auto">{texts.languageAuto}</option>
          {languageNames.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>{texts.theme}</span>
        <select
          value={preferences.theme()}
          data-testid="theme"
          onChange={(event) => preferences.setTheme(event.currentTarget.value as Theme)}
        >
          {themes.map((theme) => (
            <option key={theme} value={theme}>
              {texts.themes[theme]}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}

export function ShortcutList() {
  return (
    <section class="shortcuts" data-testid="shortcuts">
      <h3>{texts.shortcuts}</h3>
      <dl>
        {Object.entries(texts.shortcutOf).map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

export function Help({ close }: { close(): void }) {
  return (
    <Panel title={texts.shortcuts} testid="help" close={close}>
      <ShortcutList />
    </Panel>
  );
}
