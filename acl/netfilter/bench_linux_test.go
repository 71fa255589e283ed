package netfilter

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"borealis/acl"
)

// The benchmarks change the packet filter of where they run, so they run only where there is no
// network to break:
//
//	go test -c -o nf.test ./acl/netfilter && unshare -n ./nf.test -test.run '^$' -test.bench .

// alone skips a benchmark where there is a network.
func alone(b *testing.B) {
	b.Helper()
	links, err := net.Interfaces()
	if err != nil || len(links) != 1 {
		b.Skip("run this in a new network namespace: unshare -n")
	}
	sh(b, "ip link set lo up")
}

func openBench(b *testing.B, notify func(Event)) *Firewall {
	b.Helper()
	f, err := Open(context.Background(), Config{Pool: pool, Notify: notify})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	return f
}

func setBench(b *testing.B, f *Firewall, plan acl.Plan) {
	b.Helper()
	if err := f.Set(context.Background(), plan); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkApply(b *testing.B) {
	alone(b)
	for _, n := range []int{1, 100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, plan := openBench(b, nil), manyDevices(n)
			for b.Loop() {
				setBench(b, f, plan)
				b.StopTimer()
				setBench(b, f, nil)
				b.StartTimer()
			}
		})
	}
}

func BenchmarkOneMore(b *testing.B) {
	alone(b)
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, plan, more := openBench(b, nil), manyDevices(n), manyDevices(n+1)
			setBench(b, f, plan)
			for b.Loop() {
				setBench(b, f, more)
				b.StopTimer()
				setBench(b, f, plan)
				b.StartTimer()
			}
		})
	}
}

func BenchmarkOneLess(b *testing.B) {
	alone(b)
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, plan, more := openBench(b, nil), manyDevices(n), manyDevices(n+1)
			setBench(b, f, more)
			for b.Loop() {
				setBench(b, f, plan)
				b.StopTimer()
				setBench(b, f, more)
				b.StartTimer()
			}
		})
	}
}

func BenchmarkToggle(b *testing.B) {
	alone(b)
	for _, n := range []int{1, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, on, off := openBench(b, nil), manyDevices(n), manyDevices(n)
			off[device] = off[device][1:]
			setBench(b, f, on)
			for i := 0; b.Loop(); i++ {
				setBench(b, f, []acl.Plan{off, on}[i%2])
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	alone(b)
	for _, n := range []int{1, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := openBench(b, nil)
			setBench(b, f, manyDevices(n))
			for b.Loop() {
				if err := f.Check(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCounters(b *testing.B) {
	alone(b)
	for _, n := range []int{1, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := openBench(b, nil)
			setBench(b, f, manyDevices(n))
			for b.Loop() {
				if _, err := f.Counters(context.Background(), device); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRepair measures from the loss of all rules, once the program that did it has ended,
// to the word that they are back.
func BenchmarkRepair(b *testing.B) {
	alone(b)
	for _, n := range []int{1, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			events := make(chan Event, 100)
			f := openBench(b, func(e Event) { events <- e })
			f.talking.SetLimit(rate.Inf) // every repair is to be told
			setBench(b, f, manyDevices(n))
			for b.Loop() {
				b.StopTimer()
				time.Sleep(mostGap) // a loss right after a repair waits, so that two programs do not fight
				sh(b, `printf '*filter\nCOMMIT\n' | iptables-nft-restore`)
				b.StartTimer()
				if e := <-events; e.Kind != Repaired {
					b.Fatalf("event %+v", e)
				}
			}
		})
	}
}

// BenchmarkPacket sends a datagram of 64 bytes into a cable: past one rule that
// accepts it, and past ours with a number of devices to the last one of them.
func BenchmarkPacket(b *testing.B) {
	alone(b)
	sh(b, `ip link add borealis0 type veth peer name far
		ip link set borealis0 up
		ip link set far up
		ip address add 10.255.0.1/32 dev borealis0
		ip route add 10.255.0.0/16 dev borealis0`)
	b.Cleanup(func() { sh(b, "ip link delete borealis0") })
	b.Run("rule", func(b *testing.B) {
		// With connections tracked, as on most hosts and as ours needs it for replies.
		sh(b, "iptables-nft -A INPUT -i borealis0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
		sh(b, "iptables-nft -A OUTPUT -o borealis0 -p udp --dport 3478 -j ACCEPT")
		b.Cleanup(func() { sh(b, "iptables-nft -F") })
		flood(b, device)
	})
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, plan := openBench(b, nil), manyDevices(n)
			setBench(b, f, plan)
			last := device
			for addr := range plan {
				if last.Less(addr) {
					last = addr
				}
			}
			flood(b, last)
		})
	}
}

func flood(b *testing.B, to netip.Addr) {
	b.Helper()
	sh(b, "ip neighbour replace "+to.String()+" lladdr 02:00:00:00:00:01 dev borealis0")
	c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: to.AsSlice(), Port: 3478})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	data := make([]byte, 64)
	begun := cpuTime(b)
	for b.Loop() {
		if _, err := c.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-begun)/float64(b.N), "cpu-ns/op")
}

// cpuTime is the processor time that this process has used, which a busy machine changes least.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
