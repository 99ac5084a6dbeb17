package proxy
import ("testing";"os";"context";"time";"hyperkube/internal/network/plan")
func BenchmarkDump(b *testing.B) {
	t, states := benchTable(b, 10000)
	for i:=0;i<2;i++ { 
	t0:=time.Now()
	t.cfg=benchConfig()
	var ports []*plan.Rules
	for _, s := range states { r:=t.compute(s); for i := range r { ports=append(ports,&r[i].rules)} }
	t1:=time.Now()
	saved := map[string][]byte{}
	for _, name := range plan.Tables() { saved[name], _ = t.tools.Save(context.Background(), name) }
	t2:=time.Now()
	var d plan.Delta
	d.Full(&t.cfg, ports, saved)
	x:=d.Text()
	t3:=time.Now()
	os.WriteFile("/tmp/netroom/go.txt", x, 0o644)
	if err:=t.tools.Restore(context.Background(), x); err!=nil { b.Fatal(err) }
	b.Log(t1.Sub(t0), t2.Sub(t1), t3.Sub(t2), time.Since(t3))
	}
}
