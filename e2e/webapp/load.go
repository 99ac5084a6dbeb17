package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// result is what `webapp load` prints.
type result struct {
	// Answers are counted by their first word, the version that answered.
	Answers map[string]int `json:"answers"`
	// Failures are those of requests, with the time since the start.
	Failures []string `json:"failures"`
}

const (
	askers = 4
	// pause keeps the askers from using up the machine: this is about failures, not about speed.
	pause = 5 * time.Millisecond
)

// load asks until it is told to end. It says so when the first answer is there.
func load(url string) error {
	res := result{Answers: map[string]int{}, Failures: []string{}}
	var mu sync.Mutex
	began := time.Now()
	end := told()
	stop := make(chan struct{})
	first := sync.OnceFunc(func() { os.Stderr.WriteString("asking\n") })
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func() {
		at := time.Since(began)
		version, err := version(&c, url)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			res.Failures = append(res.Failures, at.Round(time.Millisecond).String()+" to "+time.Since(began).Round(time.Millisecond).String()+": "+err.Error())
			return
		}
		res.Answers[version]++
		first()
	}
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(pause):
					ask()
				}
			}
		})
	}
	<-end
	close(stop)
	wg.Wait()
	return json.NewEncoder(os.Stdout).Encode(res)
}

func version(c *http.Client, url string) (string, error) {
	res, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	v, _, _ := strings.Cut(string(body), " ")
	return v, nil
}
