/** How the page looks and speaks: as browser and system do, unless the user wants it otherwise. */
import { createEvents } from "../mesh/events.ts";
import { read, write } from "./storage.ts";
import { type Language, languageNames, languageOfBrowser, speak } from "./texts.ts";

export type Theme = "auto" | "light" | "dark";
export const themes: Theme[] = ["auto", "light", "dark"];

const themeKey = "signald.theme";
const languageKey = "signald.language";

function createPreferences() {
  const events = createEvents<{ change: undefined }>();
  let theme: Theme = themes.find((name) => name === read(themeKey)) ?? "auto";
  let language: Language | "auto" = languageNames.find(({ id }) => id === read(languageKey))?.id ?? "auto";

  function apply(): void {
    const root = document.documentElement;
    root.lang = speak(language === "auto" ? languageOfBrowser() : language);
    root.dataset.theme = theme;
    events.emit("change", undefined);
  }

  return {
    on: events.on,
    theme: () => theme,
    language: () => language,
    apply,
    setTheme(next: Theme): void {
      theme = next;
      write(themeKey, next);
      apply();
    },
    setLanguage(next: Language | "auto"): void {
      language = next;
      write(languageKey, next);
      apply();
    },
  };
}

export const preferences = createPreferences();
