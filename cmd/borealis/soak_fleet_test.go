package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"borealis/agent"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// usesOfACode is how many devices one code may let in without asking anybody.
const usesOfACode = 100

// simFleet is a program of n simulated agents: it prints the pin of each one's identity, reads the engine's
// address and pin from standard input, and keeps them all connected until it is stopped.
// Each hundred have an address of loopback of their own, as devices behind as many NATs.
func simFleet(count string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	n, err := strconv.Atoi(count)
	if err != nil {
		return failed(err)
	}
	agents := make([]*simAgent, n)
	for i := range agents {
		id, err := keys.NewIdentity("sim-" + strconv.Itoa(i))
		if err != nil {
			return failed(err)
		}
		agents[i] = &simAgent{
			identity: id, machine: "sim-" + strconv.Itoa(i),
			from: netip.AddrFrom4([4]byte{127, 1, byte(i / 100 / 250), byte(1 + i/100%250)}),
		}
		fmt.Println(id.Pin())
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return failed(err)
	}
	address, pinText, _ := strings.Cut(strings.TrimSpace(line), " ")
	pin, err := keys.ParsePin(pinText)
	if err != nil {
		return failed(err)
	}
	var work sync.WaitGroup
	for _, a := range agents {
		a.engine, a.pin = address, pin
		work.Go(func() { a.keep(ctx) })
	}
	work.Wait()
	return exitDone
}

// agentFleet is a program of usesOfACode real agents with shells, below a folder: it enrols each with the code,
// prints their device ids, and runs them all until it is stopped.
func agentFleet(dir, code string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.DiscardHandler)
	var work sync.WaitGroup
	for i := range usesOfACode {
		data := filepath.Join(dir, strconv.Itoa(i))
		enrolled, err := agent.Enrol(ctx, agent.EnrolConfig{Data: data, Code: code, Hostname: fmt.Sprintf("soak-%s-%02d", filepath.Base(dir), i), Logger: log})
		if err != nil {
			return failed(fmt.Errorf("enrol agent %d: %w", i, err))
		}
		a, err := agent.Open(agent.Config{Data: data, Link: wg.Netstack, Shell: "/bin/sh", Version: "soak", Logger: log})
		if err != nil {
			return failed(err)
		}
		work.Go(func() {
			if err := a.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				fmt.Fprintln(os.Stderr, err)
			}
		})
		fmt.Println(enrolled.DeviceID)
		select { // agents do not come all at once
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	work.Wait()
	return exitDone
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return exitFailed
}
