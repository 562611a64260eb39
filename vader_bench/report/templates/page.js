const button = document.getElementById("play-all");
button.addEventListener("click", () => {
  const videos = [...document.querySelectorAll("video")];
  const start = videos.some((video) => video.paused);
  for (const video of videos) {
    if (start) { video.closest("details")?.setAttribute("open", ""); video.currentTime = 0; video.play(); } else { video.pause(); }
  }
  button.textContent = start ? "Pause all" : "Play all";
});
