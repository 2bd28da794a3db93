package config

// Admin is the listener for operators: probes, metrics, an overview and the dashboard of the queues. The
// worker has it, and the enqueuer while it serves or watches.
type Admin struct {
	// Listen is the address of the listener as host:port; :8081 means all interfaces, and empty switches it off. The
	// enqueuer's default is 127.0.0.1:8082. As long as no login is configured (no users, no proxy), it must be an address
	// of this machine only, and the dashboard is read-only. It speaks plain HTTP: put a proxy that speaks TLS in front of
	// it before passwords cross a network.
	Listen string `yaml:"listen" validate:"omitempty,listen_address"`

	// ProbesListen is the address of a second listener that answers /livez and /readyz, without a login and nothing else
	// (but see metrics_open). Kubernetes connects from outside of the pod, so set :8083 if listen is an address of this
	// machine only. Empty means that only listen answers probes.
	ProbesListen string `yaml:"probes_listen" validate:"omitempty,listen_address"`

	// BasePath is the path below which a reverse proxy shows the pages, such as /certpurge; empty if it shows them at the
	// root of a host. The proxy may cut it off or leave it on. With a wrong path, pages have no styles and links
	// fail.
	BasePath string `yaml:"base_path" validate:"path_prefix"`

	// Title names this site and environment, such as "example.org production": on the pages, and in certificates of
	// erasure as the installation; empty for no name.
	Title string `yaml:"title"`

	// Users are those who may log in, as NAME:view:HASH or NAME:operate:HASH, with a line end or a blank between them.
	// `enqueuer password` makes such an entry. view may read everything; operate may also pause queues, delete and run
	// tasks, and on the pages of an enqueuer run requests again.
	Users Secret `yaml:"users" validate:"omitempty,admin_users"`

	// UsersFile is a file that holds the users instead, one a line, such as a mounted secret. It is read once, at the
	// start. Set either this or the users, not both.
	UsersFile string `yaml:"users_file"`

	// Proxy is a reverse proxy that logs visitors in.
	Proxy AdminProxy `yaml:"proxy"`

	// MetricsOpen serves /metrics without a login, on both listeners, for a Prometheus that has no password. The metrics
	// hold figures only.
	MetricsOpen bool `yaml:"metrics_open"`

	// Pprof serves Go's profiles below /debug/pprof/ also if listen is not an address of this machine only; they need the
	// right operate. A profile slows the process down while it is taken.
	Pprof bool `yaml:"pprof"`
}

// AdminProxy says which headers of which proxies name the visitor.
type AdminProxy struct {
	// Addresses are the addresses or networks (10.0.0.5, 10.1.0.0/16) from which the headers are believed. A client that
	// can connect from there can claim any name, so name the proxy alone, and configure it to drop these headers of
	// visitors: a header that comes twice is refused, but two that the proxy has joined look like a list of groups.
	// Where several proxies stand in a row, name all of them: X-Forwarded-For is read from the right, up to the first
	// address that is not among these. Empty means that no proxy is believed.
	Addresses []string `yaml:"addresses" validate:"dive,address"`

	// UserHeader is the header with the name of the visitor that the proxy has logged in.
	UserHeader string `yaml:"user_header" validate:"header_name"`

	// GroupsHeader is the header with the names of the visitor's groups, with commas between them.
	GroupsHeader string `yaml:"groups_header" validate:"header_name"`

	// ViewGroups are the groups with the right view. If there are none, every visitor that the proxy names has it.
	ViewGroups []string `yaml:"view_groups" validate:"dive,required"`

	// OperateGroups are the groups that may also pause queues, delete and run tasks, and on the pages of an enqueuer run
	// requests again. If there are none, no visitor of the proxy may.
	OperateGroups []string `yaml:"operate_groups" validate:"dive,required"`
}
