"use strict";

// The routes of openapi.json, with what is sent to them.
async function show() {
  const api = await (await fetch("/openapi.json")).json();
  const parts = [];
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const title = document.createElement("h2");
      title.textContent = `${method.toUpperCase()} ${path}`;
      const about = document.createElement("p");
      about.textContent = route.description ?? route.summary ?? "";
      parts.push(title, about);
      const content = Object.values(route.requestBody?.content ?? {})[0];
      const name = content?.schema?.$ref?.split("/").pop();
      if (name) {
        const body = document.createElement("pre");
        body.textContent = JSON.stringify(
          api.components.schemas[name].properties, null, 2);
        parts.push(body);
      }
    }
  }
  document.getElementById("routes").replaceChildren(...parts);
}

show();
