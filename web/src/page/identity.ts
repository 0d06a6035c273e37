/**
 * Who we are by the word of an application: the join token that its link brings after `#token=`. It is kept for
 * this tab alone, a reload included, and taken out of the address, so that no link that is passed on holds it.
 * Anyone can make a link: one that brings somebody else's token, or nonsense, replaces nobody unasked.
 */
import { createEvents } from "../mesh/events.ts";

export interface Claims {
  sub: string;
  name: string;
  /** The meeting it is good for; "*": any. */
  meeting: string;
}

const tokenKey = "signald.token";

export function createIdentity() {
  const events = createEvents<{ change: undefined }>();
  let token = "";
  let claims: Claims | null = null;
  /** Of somebody else, until it is decided whether it replaces ours. */
  let offered = "";

  function set(next: string): void {
    offered = "";
    claims = claimsOf(next);
    token = claims ? next : "";
    try {
      if (token === "") sessionStorage.removeItem(tokenKey);
      else sessionStorage.setItem(tokenKey, token);
    } catch {
      // Private mode: until the page is reloaded.
    }
    events.emit("change", undefined);
  }

  return {
    on: events.on,
    /** What the token says. Whether that is true, the server knows. */
    claims: () => claims,
    token: () => token,
    /** The token, if it is good for that meeting; else "": one joins without. */
    tokenFor: (key: string) => (claims && (claims.meeting === "*" || claims.meeting === key) ? token : ""),

    /** Takes the token that this tab has had, or the one that the address brings if it is of the same person. */
    take(): void {
      const kept = token === "" ? read() : "";
      if (kept !== "") set(kept);
      const brought = new URLSearchParams(location.hash.slice(1)).get("token");
      if (brought === null) return;
      history.replaceState(history.state, "", location.pathname + location.search);
      const theirs = claimsOf(brought);
      if (claims === null || theirs?.sub === claims.sub) set(brought);
      else if (theirs !== null) {
        offered = brought;
        events.emit("change", undefined);
      }
    },

    /** Whom a link would make of us, while that is to be asked. */
    offered: () => claimsOf(offered),
    /** Answers the question. */
    become(other: boolean): void {
      set(other ? offered : token);
    },

    forget: () => set(""),
  };
}

function read(): string {
  try {
    return sessionStorage.getItem(tokenKey) ?? "";
  } catch {
    return "";
  }
}

/** What a JWT says, unverified; null if it is none. */
export function claimsOf(token: string): Claims | null {
  try {
    const coded = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(coded), (char) => char.charCodeAt(0));
    const { sub, name, meeting } = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof sub !== "string" || sub === "" || typeof meeting !== "string") return null;
    return { sub, name: typeof name === "string" && name !== "" ? name : sub, meeting };
  } catch {
    return null;
  }
}

export const identity = createIdentity();
