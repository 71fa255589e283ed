package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	statusEvery = 3 * time.Second // between two looks at what there is to say
	maxStatus   = 300             // bytes of a line of status
)

// report keeps the line true that "systemctl status" shows: it is told when it has changed, and at
// most every few seconds. The caller calls stop, which returns when nothing of it runs.
func (s supervisor) report(ctx context.Context, status func(context.Context) string) (stop func()) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(statusEvery)
		defer tick.Stop()
		for said := ""; ; {
			if now := oneLine(status(ctx)); now != said && ctx.Err() == nil {
				s.say("STATUS=" + now)
				said = now
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

// oneLine is a text as a line of status can hold it.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), maxStatus)], "")
}
