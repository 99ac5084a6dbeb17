package server

import "net/http"

// Fail answers with an error as the API does, for handlers of streams that answer by themselves.
func (s *Server) Fail(w http.ResponseWriter, r *http.Request, err error) { sendStatus(w, r, err) }
