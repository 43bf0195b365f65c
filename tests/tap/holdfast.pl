# holdfast.pl: what tools/run_tap puts at the end of PostgreSQL's own Cluster.pm, in a copy of it.
#
# A node's archive directory is a repository then, which is made when the node has first started,
# and its two commands are Holdfast's. HOLDFAST_TAP_OPTIONS has the settings of a mode, as options,
# so that one which does not exist fails. Subroutines whose names begin with holdfast_ are what the
# changed lines of the tests call; tools/run_tap has them.

package PostgreSQL::Test::Cluster;

sub holdfast_command
{
	my ($self) = @_;
	return "$ENV{HOLDFAST_TAP_PROGRAM} --cluster main $ENV{HOLDFAST_TAP_OPTIONS} --repo "
	  . $self->archive_dir;
}

# Makes the repository in the node's archive directory, for the cluster of a server that runs.
sub holdfast_init
{
	my ($self, $server) = @_;
	my $encrypt = $ENV{HOLDFAST_TAP_OPTIONS} =~ /--key-file/ ? '--encrypt' : '';
	my $conninfo = $server->connstr('postgres');
	PostgreSQL::Test::Utils::system_or_bail($self->holdfast_command
		  . qq{ init --quiet $encrypt --conninfo "$conninfo" });
	return;
}

# Archives one file by hand, marked as the server marks what is to be archived: without that mark a
# segment that cannot be read to its end is kept as an unfinished one.
sub holdfast_push
{
	my ($self, $file) = @_;
	my $status = File::Basename::dirname($file) . '/archive_status';
	PostgreSQL::Test::Utils::append_to_file("$status/" . File::Basename::basename($file) . '.ready', '');
	PostgreSQL::Test::Utils::system_or_bail($self->holdfast_command . qq{ wal push "$file"});
	return;
}

# Fetches one segment as a person would.
sub holdfast_fetch
{
	my ($self, $name, $path) = @_;
	my $directory = File::Basename::dirname($path);
	return PostgreSQL::Test::Utils::system_log('sh', '-c',
		qq{cd "$directory/.." && } . $self->holdfast_command . qq{ wal get $name "$path"}) == 0;
}

# Where an archived timeline history will lie.
sub holdfast_history
{
	my ($self, $name) = @_;
	my ($lineage) = glob($self->archive_dir . '/clusters/main/*-1');
	return "$lineage/wal/$name";
}

# The node is stopped and "cp" is to have taken its whole pg_wal into the archive. What a server has
# finished is archived and removed; the segment that it was writing is in no archive until it is
# finished, and stays.
sub holdfast_move_wal
{
	my ($self, $server) = @_;
	my $wal = $self->data_dir . '/pg_wal';
	my ($control) = PostgreSQL::Test::Utils::run_command([ 'pg_controldata', $self->data_dir ]);
	my ($last) = $control =~ /REDO WAL file: *([0-9A-F]{24})/ or die 'no REDO WAL file';
	$self->holdfast_init($server);
	foreach my $file (sort glob("$wal/*"))
	{
		my $name = File::Basename::basename($file);
		next if -d $file || $name eq $last;
		$self->holdfast_push($file) if $name =~ /\.history$/ || $name lt $last;
		unlink $file or die "$file: $!";
	}
	return;
}

{
	no warnings 'redefine';

	sub enable_archiving
	{
		my ($self) = @_;
		my $command = $self->holdfast_command;
		$self->{holdfast_archives} = 1;
		$self->append_conf('postgresql.conf',
			qq{\narchive_mode = on\narchive_command = '$command wal push "%p"'\n});
		return;
	}

	sub enable_restoring
	{
		my ($self, $root_node, $standby) = @_;
		my $command = $root_node->holdfast_command;
		# One that archives nothing has an empty archive, not none.
		$root_node->holdfast_init($root_node)
		  if defined $root_node->{_pid} && !-e $root_node->archive_dir . '/repo.json';
		$self->append_conf('postgresql.conf',
			qq{\nrestore_command = '$command wal get "%f" "%p"'\n});
		$standby ? $self->set_standby_mode : $self->set_recovery_mode;
		return;
	}

	my $start = \&start;
	*start = sub {
		my ($self, @arguments) = @_;
		my $result = $start->($self, @arguments);
		$self->holdfast_init($self)
		  if $result
		  && $self->{holdfast_archives}
		  && !-e $self->archive_dir . '/repo.json';
		return $result;
	};
}

1;
