package login

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxy is a reverse proxy that has logged its visitors in, and says in headers who they are. The zero value trusts nobody.
type Proxy struct {
	// Addresses are from where the headers are believed. From anywhere else they mean nothing.
	Addresses []netip.Prefix
	// UserHeader holds the visitor's name, GroupsHeader the names of the visitor's groups, with commas between them.
	UserHeader, GroupsHeader string
	// ViewGroups may look; if there are none, everybody whom the proxy names may. OperateGroups may change the queues.
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

// visitor reads who the proxy says it is; named is false if it says nothing.
func (p Proxy) visitor(header http.Header) (v Visitor, named bool) {
	names := header.Values(p.UserHeader)
	if len(names) == 0 {
		return Visitor{}, false
	}
	if len(names) != 1 || strings.TrimSpace(names[0]) == "" { // the visitor's own header may have slipped through
		return Visitor{}, true
	}
	v.Name = strings.TrimSpace(names[0])
	groups := strings.Split(strings.Join(header.Values(p.GroupsHeader), ","), ",")
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

// client is the address that a request comes from: through the proxy, the last one that the proxy adds.
func (p Proxy) client(r *http.Request) (from netip.Addr, trusted bool) {
	from = remote(r)
	if !p.trusts(from) {
		return from, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if address, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
		return address.Unmap(), true
	}
	return from, true
}

// remote is the other end of the connection; the zero address where that has none.
func remote(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}
