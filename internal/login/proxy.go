package login

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxy is a reverse proxy that has logged its visitors in, and says in headers who they are. The zero value trusts
// no one.
type Proxy struct {
	// Addresses are from where the headers are believed. From anywhere else they mean nothing.
	Addresses []netip.Prefix
	// UserHeader holds the visitor's name, GroupsHeader the names of the visitor's groups, with commas between them.
	UserHeader, GroupsHeader string
	// ViewGroups may look; if there are none, every user whom the proxy names may. OperateGroups may change the queues.
	ViewGroups, OperateGroups []string
}

// ParseAddresses reads addresses and networks: 192.0.2.1, 10.0.0.0/8, ::1.
func ParseAddresses(texts []string) ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			address, err := netip.ParseAddr(text)
			if err != nil {
				return nil, err
			}
			prefix = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
		}
		all = append(all, prefix)
	}
	return all, nil
}

// trusts reports whether a request comes from the proxy.
func (p Proxy) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(p.Addresses, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
}

// visitor reads who the proxy says it is; named is false if it says nothing. A header that is there twice gives no
// right: one of the two may be the visitor's own. A comma in the name may be where a hop in between has joined two.
func (p Proxy) visitor(header http.Header) (v Visitor, named bool) {
	names, lists := header.Values(p.UserHeader), header.Values(p.GroupsHeader)
	if len(names) == 0 {
		return Visitor{}, false
	}
	v.Name = strings.TrimSpace(names[0])
	if len(names) != 1 || len(lists) > 1 || v.Name == "" || strings.Contains(v.Name, ",") {
		return Visitor{}, true
	}
	groups := strings.Split(strings.Join(lists, ","), ",")
	in := func(allowed []string) bool {
		return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(allowed, strings.TrimSpace(g)) })
	}
	switch {
	case in(p.OperateGroups):
		v.Right = Operate
	case len(p.ViewGroups) == 0 || in(p.ViewGroups):
		v.Right = View
	}
	return v, true
}

// client is the address that a request comes from. Each trusted hop has added the address that it was called from to
// the end of X-Forwarded-For, so the list is read from the right, and what stands before the first address that is not
// trusted is the visitor's own invention. An entry that is no address ends the reading: the hop before it is the best
// that is known.
func (p Proxy) client(r *http.Request) (from netip.Addr, trusted bool) {
	from = Remote(r)
	if !p.trusts(from) {
		return from, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		address, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if from = address.Unmap().WithZone(""); !p.trusts(from) {
			break
		}
	}
	return from, true
}

// Remote is the other end of the connection, without a zone; the zero address where that has none.
func Remote(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}

// IsLocal reports whether host, or host:port, is a name or an address of this machine only.
func IsLocal(address string) bool {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
