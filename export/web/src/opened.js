// The first script of a site. Opened from a file, its modules would be blocked, and it would wait for ever.

if (location.protocol === "file:") {
  const folder = decodeURIComponent(location.pathname).split("/").at(-2);
  document.getElementById("status").textContent = "";
  document.getElementById("sorry").textContent = `This page needs a web server. In a terminal, beside its folder, type: vidgan serve ${folder}`;
} else {
  const app = document.createElement("script");
  Object.assign(app, { type: "module", src: "app.js" });
  document.body.append(app);
}
