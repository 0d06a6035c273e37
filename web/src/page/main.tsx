import { render } from "preact";
import { App } from "./app.tsx";
import "./css/base.css";
import "./css/lobby.css";
import "./css/meeting.css";
import "./css/panels.css";
import "./css/files.css";
import "./css/ring.css";
import { preferences } from "./preferences.ts";

preferences.apply();

const root = document.getElementById("app");
if (root) render(<App />, root);
