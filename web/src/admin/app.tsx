import { useEffect, useState } from "preact/hooks";
import { codeOf } from "../mesh/errors.ts";
import { Mark } from "../page/icons.tsx";
import { base } from "../page/place.ts";
import { createAdminApi } from "./api.ts";
import { Audit } from "./audit.tsx";
import { Events } from "./events.tsx";
import { type Place, readPlace, views, writePlace } from "./filters.ts";
import { LiveMeetings } from "./live.tsx";
import { Login } from "./login.tsx";
import { texts } from "./texts.ts";

type Session = { in: false; error: string } | { in: true; attribution: string };

const api = createAdminApi(base);

export function App() {
  const t = texts();
  const [session, setSession] = useState<Session | null>(null);
  const [place, setPlace] = useState(() => readPlace(location.search));

  // Once, for the life of the page.
  useEffect(() => {
    api.session().then(
      ({ attribution }) => setSession({ in: true, attribution }),
      (error) => setSession({ in: false, error: codeOf(error) === "unauthorized" ? "" : codeOf(error) }),
    );
    const moved = () => setPlace(readPlace(location.search));
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);

  const expired = () => setSession({ in: false, error: "unauthorized" });

  function go(next: Place): void {
    const address = `${location.pathname}${writePlace(next)}`;
    if (address !== location.pathname + location.search) history.pushState(null, "", address);
    setPlace(readPlace(location.search));
  }

  return (
    <div class="admin">
      <header>
        <p class="brand">
          <Mark />
          signald
        </p>
        {session?.in && (
          <>
            <nav aria-label={t.admin}>
              {views.map((view) => (
                <a
                  key={view}
                  href={`${location.pathname}${writePlace({ ...place, view })}`}
                  data-testid={`view-${view}`}
                  {...(view === place.view ? { "aria-current": "page" as const } : {})}
                  onClick={(event) => {
                    event.preventDefault();
                    go({ ...place, view });
                  }}
                >
                  {t.views[view]}
                </a>
              ))}
            </nav>
            <button
              type="button"
              class="quiet"
              data-testid="logout"
              onClick={() => {
                api.logout().then(
                  () => setSession({ in: false, error: "" }),
                  (error) => setSession({ in: false, error: codeOf(error) }),
                );
              }}
            >
              {t.logout}
            </button>
          </>
        )}
      </header>
      <main>{session && draw(session)}</main>
    </div>
  );

  function draw(session: Session) {
    if (!session.in) {
      return (
        <Login
          error={session.error}
          login={async (token) => {
            const { attribution } = await api.login(token);
            setSession({ in: true, attribution });
          }}
        />
      );
    }
    return (
      <>
        <h1 class="unseen">{t.admin}</h1>
        {place.view === "audit" && (
          <Audit
            api={api}
            filters={place.filters}
            show={(filters) => go({ ...place, filters })}
            expired={expired}
          />
        )}
        {place.view === "live" && <LiveMeetings api={api} expired={expired} />}
        {place.view === "events" && <Events api={api} expired={expired} />}
        {session.attribution !== "" && (
          <p class="attribution" data-testid="attribution">
            {session.attribution}
          </p>
        )}
      </>
    );
  }
}
