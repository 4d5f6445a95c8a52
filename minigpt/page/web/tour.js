// A guided tour.
export function startTour(app) {
  app.say("not written yet");
}
