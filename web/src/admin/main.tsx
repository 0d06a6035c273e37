import { render } from "preact";
import { preferences } from "../page/preferences.ts";
import { App } from "./app.tsx";
import "../page/css/base.css";
import "./admin.css";

preferences.apply(); // colours and language are those of the meeting page

const root = document.getElementById("app");
if (root) render(<App />, root);
