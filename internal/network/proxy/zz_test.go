package proxy
import ("testing";"os";"os/exec";"context";"time";"hyperkube/internal/network/plan")
func BenchmarkDump(b *testing.B) {
	t, states := benchTable(b, 10000)
	t.full(context.Background(), benchConfig(), states)
	for i:=0;i<6;i++ {
	t0:=time.Now()
	one := benchState(20000+i, "10.244.200.1")
	var d plan.Delta
	change(&d, replaced{nil, t.compute(one)})
	x:=d.Text(block(t.tools))
	t1:=time.Now()
	os.WriteFile("/tmp/netroom/one.real", x, 0o644)
	t2:=time.Now()
	if err:=t.tools.Restore(context.Background(), x); err!=nil { b.Fatal(err) }
	b.Log(t1.Sub(t0), time.Since(t2))
	}
	out,_:=exec.Command("sh","-c","for i in 1 2 3; do /usr/bin/time -f '%e %U %S' iptables-nft-restore --noflush < /tmp/netroom/one.real; done; perf record -g -o /tmp/netroom/p4.data iptables-nft-restore --noflush < /tmp/netroom/one.real; strace -r iptables-nft-restore --noflush < /tmp/netroom/one.real 2>/tmp/netroom/strace.txt").CombinedOutput()
	b.Log(string(out))
}
